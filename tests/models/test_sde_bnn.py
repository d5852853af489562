"""Weights that follow a stochastic differential equation: a closed form, torchsde's own path, recomputed gradients."""

from __future__ import annotations

import itertools
import math
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from deeprelax.models import SdeBnn
from deeprelax.models.sde_bnn import Drift, WeightSde

SIGMA, NOISE, START, SEEN = 0.8, 0.5, 0.3, 1.4  # of B; of the observation; w(0); y


def still(h: Tensor, t: float, w: Tensor) -> Tensor:
    return torch.zeros_like(h)


class Exact(nn.Module):
    """c sigma^2 d/dw log N(y; w e^-(1-t), s^2 + v(t)), v(t) = sigma^2 (1 - e^-2(1-t))/2: the posterior's at c = 1."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, t: float, w: Tensor) -> Tensor:
        decay = math.exp(-(1 - t))
        variance = NOISE**2 + SIGMA**2 * (1 - decay**2) / 2
        return self.c * SIGMA**2 * decay * (SEEN - w * decay) / variance


def log_normal(x: float, mean: Any, variance: float) -> Any:
    return -((x - mean) ** 2) / (2 * variance) - math.log(2 * math.pi * variance) / 2


def bounds(steps: int, divergence: str, paths: int = 400) -> tuple[Tensor, Tensor]:
    """log p(y | w(1)) - divergence and its derivative by c, of each path."""
    sde = WeightSde(torch.tensor([START], dtype=torch.float64), Exact(), SIGMA, divergence)
    torch.manual_seed(0)
    increments = torch.stack([sde.increments(steps) for _ in range(paths)])

    def bound(c: Tensor, increment: Tensor) -> Tensor:
        _, w, kl = torch.func.functional_call(sde, {"drift.c": c}, (torch.zeros(1), still, increment))
        return log_normal(SEEN, w[0], NOISE**2) - kl

    both = torch.vmap(torch.func.grad_and_value(bound), (None, 0))(torch.ones((), dtype=torch.float64), increments)
    return both[1].detach(), both[0].detach()


EVIDENCE = log_normal(SEEN, START * math.exp(-1), NOISE**2 + SIGMA**2 * (1 - math.exp(-2)) / 2)


def test_at_the_posterior_every_path_has_the_evidence_and_its_spread_is_of_order_one_half() -> None:
    """400 paths know a deviation to 3.5 %, the ratio of two to 5 %: 0.4 is 8 of that, the chance beyond 1e-15."""
    spreads = {steps: bounds(steps, "stl")[0] for steps in (25, 100, 400)}
    for steps, found in spreads.items():
        assert (found - EVIDENCE).abs().max() < 8 * found.std()  # beyond by chance: 400 Gaussians 5e-13
        assert abs(found.mean() - EVIDENCE) < 2 / steps  # Euler's bias is of order 1
    for few, many in ((25, 100), (100, 400)):
        assert spreads[few].std() / spreads[many].std() == pytest.approx(2.0, rel=0.4)  # the root of 4
    assert bounds(400, "kl")[0].std() > 10 * spreads[400].std()  # without int u dB paths differ


def test_sticking_the_landing_has_a_gradient_without_noise_there() -> None:
    kl, stl = bounds(1600, "kl")[1], bounds(1600, "stl")[1]
    assert kl.std() > 50 * stl.std()
    assert abs(stl.mean()) < 0.005
    assert abs(kl.mean()) < 4.5 * kl.std() / 20  # beyond by chance: 7e-6


def network(**options: Any) -> SdeBnn:
    """In double precision, its last layer not 0."""
    torch.manual_seed(0)
    found = SdeBnn(1, 8, 10, width=5, hidden=7, drift_hidden=6, **options).double()
    nn.init.normal_(found.weights.drift.last.weight, std=0.05)
    nn.init.normal_(found.weights.drift.last.bias, std=0.05)
    return found


def losses_gradient(net: SdeBnn, steps: int) -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(16, 1, 8, 8, generator=generator, dtype=torch.float64)
    torch.manual_seed(2)
    logits, divergence = net.sampled(images, steps)
    loss = logits.square().mean() + divergence
    return loss.detach(), [p.detach() for p in torch.autograd.grad(loss, list(net.parameters()))]


@pytest.mark.parametrize("kind", ["dense", "convolution"])
@pytest.mark.parametrize("divergence", ["kl", "stl"])
def test_recomputed_gradients_are_equal(kind: str, divergence: str) -> None:
    both = [losses_gradient(network(kind=kind, divergence=divergence, memory=m), 7) for m in ("store", "recompute")]
    assert both[0][0] == both[1][0]
    for stored, recomputed in zip(both[0][1], both[1][1], strict=True):
        torch.testing.assert_close(recomputed, stored, rtol=1e-12, atol=1e-12)


class Living(TorchDispatchMode):
    """The bytes of all storages made inside that live at once, at most."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self.count(tensor.untyped_storage())
        return made

    def count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self.gone, key, size)

    def gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def peak(memory: str, steps: int) -> int:
    """Bytes of a gradient, the increments of B aside."""
    net = network(kind="dense", memory=memory)
    losses_gradient(net, steps)
    with Living() as living:
        losses_gradient(net, steps)
    return living.most - net.weights.increments(steps).nbytes


def test_recomputing_needs_no_more_memory_for_more_steps() -> None:
    """By count of bytes, which no machine changes: two states more for each doubling, 1.2 in all here."""
    store, recompute = ([peak(memory, steps) for steps in (4, 32)] for memory in ("store", "recompute"))
    assert store[1] > 3.5 * store[0]
    assert recompute[1] < 1.3 * recompute[0]
    assert recompute[1] < store[1] / 4


def test_a_path_is_that_of_torchsde() -> None:
    torchsde = pytest.importorskip("torchsde", reason="torchsde is not installed: pip install -e '.[rivals]'")
    torch.manual_seed(0)
    count, steps = 6, 16  # a power of two: no time is rounded
    drift = Drift(count, 2, 5).double()
    nn.init.normal_(drift.last.weight)
    ours = WeightSde(torch.randn(count, dtype=torch.float64), drift, 0.3)

    class Theirs(nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t: Tensor, w: Tensor) -> Tensor:
            return drift(float(t), w[0])[None] - w

        def g(self, t: Tensor, w: Tensor) -> Tensor:
            return torch.full_like(w, 0.3)

        def h(self, t: Tensor, w: Tensor) -> Tensor:
            return -w

    times = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    brownian = torchsde.BrownianInterval(0.0, 1.0, size=(1, count + 1), dtype=torch.float64, entropy=3)
    increments = torch.stack([brownian(float(a), float(b))[0, :count] for a, b in itertools.pairwise(times)])
    path, kl = torchsde.sdeint(
        Theirs(), ours.initial[None], times, bm=brownian, method="euler", dt=1 / steps, logqp=True
    )
    _, w, divergence = ours(torch.zeros(1), still, increments)
    torch.testing.assert_close(w, path[-1, 0], rtol=0, atol=1e-12)
    torch.testing.assert_close(divergence, kl.sum(), rtol=1e-12, atol=1e-12)
    wanted = torch.autograd.grad(path[-1].square().sum() + kl.sum(), ours.initial)[0]
    found = torch.autograd.grad(w.square().sum() + divergence, ours.initial)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_it_starts_at_the_prior_and_has_as_many_parameters_as_told() -> None:
    net = SdeBnn(1, 8, 10)
    assert sum(p.numel() for p in net.parameters()) == 19_629
    assert len(net.weights.initial) == 4_256
    for divergence in ("kl", "stl"):
        assert SdeBnn(1, 8, 10, divergence=divergence).sampled(torch.zeros(2, 1, 8, 8))[1] == 0


@pytest.mark.parametrize("kind", ["dense", "convolution"])
@pytest.mark.parametrize(("channels", "size", "classes"), [(1, 28, 10), (3, 33, 100), (1, 1, 2)])
def test_maps_images_to_logits(kind: str, channels: int, size: int, classes: int) -> None:
    net = SdeBnn(channels, size, classes, kind=kind)
    images = torch.zeros(4, channels, size, size).to(memory_format=torch.channels_last)
    assert net(images).shape == (4, classes)


def test_more_steps_in_evaluation_and_one_path_for_a_batch() -> None:
    net = network(steps=3, evaluation_steps=9)
    images = torch.ones(2, 1, 8, 8, dtype=torch.float64)
    for mode, steps in ((True, 3), (False, 9)):
        torch.manual_seed(5)
        found = net.train(mode)(images)
        torch.manual_seed(5)
        assert torch.equal(found, net.sampled(images, steps)[0])
        torch.testing.assert_close(found[0], found[1], rtol=1e-13, atol=1e-15)  # rows of a product may round apart
    assert not torch.equal(net(images), net(images))


def test_wrong_options_are_refused() -> None:
    for options, message in (
        ({"sigma": 0.0}, "sigma must be a number > 0"), ({"divergence": "js"}, "divergence must be kl or stl"),
        ({"kind": "lstm"}, "kind must be dense or convolution"), ({"evaluation_steps": 0}, "evaluation_steps must be"),
        ({"memory": "disk"}, "memory must be store or recompute"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            SdeBnn(1, 8, 10, **options)  # type: ignore[arg-type]
