"""L-BFGS: torch's bit for bit, its closed form, its bound, and what a step that fails leaves."""

from __future__ import annotations

import copy
import importlib
import io
import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deeprelax.optim import LBFGS, SGD
from deeprelax.optim.torch_lbfgs import overshoot

from .problems import network, quadratic_loss, random_quadratic, same, weights

F = Callable[[], Tensor]


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def closure_of(optimizer: torch.optim.Optimizer, f: F, calls: list[float] | None = None) -> F:
    """f with its gradient, as the README's loop has it; each loss goes into `calls`."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = f()
        loss.backward()
        if calls is not None:
            calls.append(loss.item())
        return loss

    return closure


def of_network(net: nn.Module) -> F:
    """Its loss on one batch."""
    generator = torch.Generator().manual_seed(7)
    dtype = next(net.parameters()).dtype
    x, y = torch.randn(8, 1, 6, 6, generator=generator).to(dtype), torch.randint(4, (8,), generator=generator)
    return lambda: nn.functional.cross_entropy(net(x), y)


def flat(kept: object) -> list[object]:
    """The numbers of a state, tensors as their data type and bytes."""
    if isinstance(kept, dict):
        return [(key, flat(value)) for key, value in kept.items()]
    if isinstance(kept, list):
        return [flat(value) for value in kept]
    return [(str(kept.dtype), kept.numpy().tobytes())] if isinstance(kept, Tensor) else [kept]


def state_of(optimizer: torch.optim.Optimizer) -> list[object]:
    return flat(optimizer.state_dict())


def test_it_reaches_the_minimum_of_a_quadratic() -> None:
    """Strictly convex in 6 dimensions, eigenvalues 0.05 to 3: to 1e-10 in 3 steps of 26 gradients at most."""
    a, minimum, start = random_quadratic()
    f = quadratic_loss(a, minimum)
    x = nn.Parameter(torch.from_numpy(start))
    optimizer = LBFGS([x], tolerance_grad=1e-14, tolerance_change=1e-30)
    for _ in range(3):
        optimizer.step(closure_of(optimizer, lambda: f(x)))
    assert np.abs(x.detach().numpy() - minimum).max() < 1e-10


@pytest.mark.parametrize(
    "keywords", [{}, {"lr": 0.3, "max_iter": 4, "history_size": 2}, {"max_iter": 9, "max_eval": 5}]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_torch_bit_for_bit(keywords: dict[str, float], dtype: torch.dtype) -> None:
    """Weights, losses, calls and state, where the history overflows too."""
    x, y = (nn.Parameter(torch.linspace(-1.2, 1.0, 7).to(dtype)) for _ in range(2))
    ours, theirs = LBFGS([x], **keywords), torch.optim.LBFGS([y], line_search_fn="strong_wolfe", **keywords)
    counts: tuple[list[float], list[float]] = ([], [])
    for _ in range(6):
        mine = ours.step(closure_of(ours, lambda: rosenbrock(x), counts[0]))
        reference = theirs.step(closure_of(theirs, lambda: rosenbrock(y), counts[1]))
        assert torch.equal(mine, reference.detach())
        assert torch.equal(x, y)
        assert not mine.requires_grad
    assert counts[0] == counts[1]
    assert flat(list(ours.state.values())) == flat(list(theirs.state.values()))
    assert x.grad is None


def test_a_network_too_and_in_either_memory_format() -> None:
    """torch's own refuses the gradients of channels_last, whose numbers lie in another order."""
    nets = [network(seed=3) for _ in range(3)]
    nets[2].to(memory_format=torch.channels_last)
    ours, theirs, other = (
        LBFGS(nets[0].parameters()),
        torch.optim.LBFGS(nets[1].parameters(), line_search_fn="strong_wolfe"),
        LBFGS(nets[2].parameters()),
    )
    for optimizer, net in zip((ours, theirs, other), nets, strict=True):
        optimizer.step(closure_of(optimizer, of_network(net)))
    assert same(weights(nets[0]), weights(nets[1]))
    for p, q in zip(nets[0].parameters(), nets[2].parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-9)


def endless(x: Tensor) -> Tensor:
    """Descent without end: each line search goes on as long as it may."""
    return -x.sum()


@pytest.mark.parametrize("f", [endless, rosenbrock, lambda x: x.abs().sum(), lambda x: (30 * x).sin().sum()])
@pytest.mark.parametrize("max_eval", [1, 2, 3, 7, 25])
def test_a_step_takes_no_more_than_the_bound(f: Callable[[Tensor], Tensor], max_eval: int) -> None:
    x = nn.Parameter(torch.linspace(-1.2, 1.0, 7, dtype=torch.float64))
    optimizer = LBFGS([x], max_iter=20, max_eval=max_eval)
    for step in range(3):
        calls: list[float] = []
        optimizer.step(closure_of(optimizer, lambda: f(x), calls))
        assert 1 <= len(calls) <= optimizer.evaluations == max_eval + overshoot()
        if f is endless and step == 0 and overshoot() == 1:
            assert len(calls) == optimizer.evaluations  # no smaller bound would do


def test_the_bound_holds_in_older_releases_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their line search takes 25 evaluations more than its first one, whatever max_eval is."""
    assert overshoot() in (1, 26)
    module = importlib.import_module("torch.optim.lbfgs")
    search = module._strong_wolfe
    monkeypatch.setattr(module, "_strong_wolfe", lambda *found, max_ls=None: search(*found, max_ls=25))
    overshoot.cache_clear()
    try:
        assert overshoot() == 26
        for max_eval, left in [(1, None), (2, None), (25, 27), (25, 30)]:
            x = nn.Parameter(torch.zeros(3, dtype=torch.float64))
            optimizer = LBFGS([x], max_eval=max_eval)
            optimizer.left = left
            calls: list[float] = []
            optimizer.step(closure_of(optimizer, lambda x=x: endless(x), calls))
            assert len(calls) == 27 <= min(optimizer.evaluations, left or 1000)
    finally:
        overshoot.cache_clear()


@pytest.mark.parametrize("f", [endless, rosenbrock])
def test_a_step_keeps_within_what_is_left(f: Callable[[Tensor], Tensor]) -> None:
    x = nn.Parameter(torch.linspace(-1.2, 1.0, 7, dtype=torch.float64))
    optimizer = LBFGS([x])
    for left in range(optimizer.least, 30):
        calls: list[float] = []
        optimizer.left = left
        optimizer.step(closure_of(optimizer, lambda: f(x), calls))
        assert len(calls) <= left
        assert optimizer.param_groups[0]["max_eval"] == 25
    optimizer.left = optimizer.least - 1
    with pytest.raises(AssertionError, match="least"):
        optimizer.step(closure_of(optimizer, lambda: f(x)))


def test_a_resumed_optimizer_equals_one_that_never_stopped() -> None:
    """By way of a file that holds no code; in bfloat16 beside float64, where torch's own would round the history."""

    def parameters() -> list[nn.Parameter]:
        numbers = torch.linspace(-1.2, 1.0, 7)
        return [nn.Parameter(numbers[:3].to(torch.bfloat16)), nn.Parameter(numbers[3:].double())]

    def f(params: list[nn.Parameter]) -> Tensor:
        return rosenbrock(torch.cat([p.double() for p in params]))

    params, others = parameters(), parameters()
    optimizer = LBFGS(params, max_iter=3)
    for _ in range(3):
        optimizer.step(closure_of(optimizer, lambda: f(params)))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    resumed = LBFGS(others, max_iter=3)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert state_of(resumed) == state_of(optimizer)
    with torch.no_grad():
        for p, q in zip(others, params, strict=True):
            p.copy_(q)
    for _ in range(3):
        optimizer.step(closure_of(optimizer, lambda: f(params)))
        resumed.step(closure_of(resumed, lambda: f(others)))
    assert same(params, others)  # type: ignore[arg-type]
    assert state_of(resumed) == state_of(optimizer)


def test_copies_and_pickles_step_on() -> None:
    x = nn.Parameter(torch.linspace(-1.2, 1.0, 7, dtype=torch.float64))
    optimizer = LBFGS([x], max_iter=3)
    optimizer.step(closure_of(optimizer, lambda: rosenbrock(x)))
    copies = [copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]
    optimizer.step(closure_of(optimizer, lambda: rosenbrock(x)))
    for other in copies:
        (y,) = other.param_groups[0]["params"]
        other.step(closure_of(other, lambda y=y: rosenbrock(y)))
        assert torch.equal(x, y)


def test_a_closure_that_raises_leaves_weights_and_state() -> None:
    net = network()
    optimizer = LBFGS(net.parameters(), max_iter=4, history_size=2)
    f, calls = of_network(net), []
    for steps in range(3):  # without a state, and with one whose history is full
        before, state, first = weights(net), state_of(optimizer), len(calls)
        for failing in range(4):

            def closure(last: int = len(calls) + failing) -> Tensor:
                if len(calls) == last:
                    raise RuntimeError("no more data")
                return closure_of(optimizer, f, calls)()

            with pytest.raises(RuntimeError, match="no more data"):
                optimizer.step(closure)
            assert same(before, weights(net)), (steps, failing)
            assert state_of(optimizer) == state
            assert all(p.grad is None for p in net.parameters())
        assert len(calls) == first + 6
        optimizer.step(closure_of(optimizer, f, calls))
        assert not same(before, weights(net))


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(what: str, bad: float, at: int) -> None:
    net, untouched = network(), network()
    optimizer, other = LBFGS(net.parameters(), max_iter=4), LBFGS(untouched.parameters(), max_iter=4)
    f = of_network(net)
    optimizer.step(closure_of(optimizer, f))
    other.step(closure_of(other, of_network(untouched)))
    assert optimizer.finite
    assert optimizer.direction_norm() > 0
    calls: list[float] = []

    def spoiled() -> Tensor:
        loss = closure_of(optimizer, f, calls)()
        if len(calls) - 1 == at:
            for p in net.parameters() if what == "gradient" else ():
                p.grad.view(-1)[0] = bad
            return loss if what == "gradient" else loss * bad
        return loss

    loss = optimizer.step(spoiled)
    assert len(calls) == at + 1  # no further evaluation is spent on it
    assert (what == "gradient") == bool(torch.isfinite(loss))
    assert not optimizer.finite
    assert optimizer.direction_norm().isnan()
    assert same(weights(net), weights(untouched))
    assert flat(list(optimizer.state.values())) == flat(list(other.state.values()))
    assert optimizer.param_groups[0]["outer_steps"] == 2
    assert optimizer.nonfinite_steps() == (1, 1)
    assert optimizer.nonfinite_steps() == (0, 0)
    optimizer.step(closure_of(optimizer, f))
    other.step(closure_of(other, of_network(untouched)))
    assert optimizer.finite
    assert same(weights(net), weights(untouched))


def test_weights_that_come_out_not_finite_are_put_back() -> None:
    """f is linear, so that no loss or gradient tells: the weights alone overflow."""
    x = nn.Parameter(torch.tensor([3e38]))
    optimizer = LBFGS([x], lr=3e38)

    def closure() -> Tensor:
        x.grad = torch.full_like(x, -1.0)
        return -x.detach().clamp(max=1.0).sum() if x.isfinite() else torch.tensor(-2.0)

    optimizer.step(closure)
    assert x.item() == pytest.approx(3e38)
    assert not optimizer.finite
    assert optimizer.nonfinite_steps() == (1, 0)


def test_who_never_asks_is_warned() -> None:
    x = nn.Parameter(torch.ones(2))
    optimizer = LBFGS([x])
    nan = closure_of(optimizer, lambda: x.sum() * math.nan)
    for _ in range(4):
        optimizer.step(nan)
    with pytest.warns(UserWarning, match="5 steps in a row were not finite and changed nothing: lower lr") as found:
        optimizer.step(nan)
    assert found[0].filename == __file__


def test_the_lr_is_read_at_each_step_and_0_stays() -> None:
    x, y = (nn.Parameter(torch.linspace(-1.2, 1.0, 7, dtype=torch.float64)) for _ in range(2))
    ours, theirs = LBFGS([x], max_iter=3), torch.optim.LBFGS([y], max_iter=3, line_search_fn="strong_wolfe")
    for lr in (1.0, 0.0, 0.1, 2.0):
        ours.param_groups[0]["lr"] = theirs.param_groups[0]["lr"] = lr
        calls: list[float] = []
        ours.step(closure_of(ours, lambda: rosenbrock(x), calls))
        if lr:
            theirs.step(closure_of(theirs, lambda: rosenbrock(y)))
        else:
            assert len(calls) == 1
            assert ours.direction_norm() == 0
        assert torch.equal(x, y)
    assert ours.scalars() == {"lr": 2.0}


def test_a_closure_may_forget_to_zero_and_parameters_may_be_frozen_or_unused() -> None:
    x, frozen, unused = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    frozen.requires_grad_(False)
    optimizer = LBFGS([x, frozen, unused])
    x.grad = torch.full((3,), 1e3)  # what was there before is not part of f

    def closure() -> Tensor:
        loss = (x * frozen.sum() - 3).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(x.detach(), torch.full((3,), 1.5))
    assert torch.equal(frozen, torch.ones(2))
    assert torch.equal(unused, torch.ones(2))


def test_complex_parameters_are_those_of_torch() -> None:
    x, y = (nn.Parameter(torch.tensor([1 + 1j, -0.5 + 2j], dtype=torch.complex128)) for _ in range(2))
    ours, theirs = LBFGS([x], max_iter=4), torch.optim.LBFGS([y], max_iter=4, line_search_fn="strong_wolfe")
    for _ in range(2):
        ours.step(closure_of(ours, lambda: (x.abs() ** 4 - 3 * x.real).sum()))
        theirs.step(closure_of(theirs, lambda: (y.abs() ** 4 - 3 * y.real).sum()))
    assert torch.equal(x, y)


def test_what_it_holds_is_the_history() -> None:
    x = nn.Parameter(torch.linspace(-1.2, 1.0, 700, dtype=torch.float64))
    optimizer = LBFGS([x], history_size=3)
    assert optimizer.memory() == 0
    with pytest.raises(RuntimeError, match="after a step only"):
        optimizer.direction_norm()
    optimizer.step(closure_of(optimizer, lambda: rosenbrock(x)))
    assert 8 * x.nbytes <= optimizer.memory() <= 8 * x.nbytes + 200  # pairs, d and a gradient; the rest are numbers


def test_what_it_refuses() -> None:
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    with pytest.raises(ValueError, match="LBFGS has one group of parameters"):
        LBFGS([{"params": [a]}, {"params": [b]}])
    optimizer = LBFGS([a])
    with pytest.raises(ValueError, match="LBFGS has one group of parameters"):
        optimizer.add_param_group({"params": [b]})
    for state in (SGD([a]).state_dict(), torch.optim.LBFGS([a]).state_dict()):
        with pytest.raises(ValueError, match="this is no state dict of LBFGS: it lacks "):
            optimizer.load_state_dict(state)
    with pytest.raises(ValueError, match="this is no state dict of SGD"):
        SGD([a]).load_state_dict(optimizer.state_dict())
    a.to_local = None  # type: ignore[attr-defined] # as a DTensor has
    with pytest.raises(ValueError, match="LBFGS takes inner products of whole parameters"):
        optimizer.step(lambda: a.sum())
    del a.to_local
    with pytest.raises(ValueError, match="ran out of batches"):
        optimizer.step(lambda: next(iter([])))
