"""Parameters and groups of every kind: complex, sparse, half precision, on shards, with rules of their own."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from deeprelax.optim import SGD, AdamW, EntropySGD, HamiltonJacobi, Heat, pde_relaxed
from deeprelax.optim.shards import place
from tests.optimizers import OPTIMIZERS

from .problems import ALL, Batches, descend, network, same, weights


@ALL
def test_complex_parameters_equal_their_view_as_real(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.view_as_complex(torch.randn(5, 3, 2, generator=generator, dtype=torch.float64))
    p, q = nn.Parameter(start.clone()), nn.Parameter(torch.view_as_real(start).clone())
    matrix = torch.view_as_complex(torch.randn(4, 5, 2, generator=generator, dtype=torch.float64))
    optimizers = [OPTIMIZERS[name].build([each]) for each in (p, q)]
    for _ in range(4):
        descend(optimizers[0], lambda: (matrix @ p).abs().square().sum())
        descend(optimizers[1], lambda: (matrix @ torch.view_as_complex(q)).abs().square().sum())
    assert not torch.equal(p, start)
    assert torch.equal(torch.view_as_real(p.detach()), q)
    assert optimizers[0].memory() == optimizers[1].memory()


def test_a_conjugated_parameter_is_an_error_of_torch() -> None:
    """Its numbers are nowhere in memory as they are: a step on a copy would move nothing."""
    p = nn.Parameter(torch.ones(2, dtype=torch.complex64).conj())
    with pytest.raises(RuntimeError, match="conj"):
        descend(SGD([p]), lambda: p.abs().sum())


def test_shards_of_different_dimensions_have_different_places() -> None:
    def sharded(*dimensions: int | None) -> Tensor:
        how = [types.SimpleNamespace(is_shard=lambda d=d: d is not None) for d in dimensions]
        mesh = types.SimpleNamespace(get_coordinate=lambda: [0, 1])
        return types.SimpleNamespace(to_local=None, device_mesh=mesh, placements=how)  # type: ignore[return-value]

    assert place(torch.ones(1)) == place(sharded(None, None)) == ()
    assert len({place(sharded(0, None)), place(sharded(None, 0)), place(sharded(0, 0))}) == 3


def test_the_norm_of_a_half_precision_direction_does_not_overflow() -> None:
    p = nn.Parameter(torch.zeros(100_000, dtype=torch.float16))
    optimizer = SGD([p], lr=1e-3)
    descend(optimizer, lambda: (1000.0 * p.float()).sum())
    assert optimizer.nonfinite_steps() == (0, 0)
    assert optimizer.direction_norm().item() == pytest.approx(1000 * 100_000**0.5, rel=1e-3)  # summed in float32


@ALL
@pytest.mark.parametrize("groups", [1, 2])
def test_double_and_half_precision_together(name: str, groups: int) -> None:
    """To the rounding of bfloat16 the half ones move as if they were not."""
    ends = []
    for dtype in (torch.bfloat16, torch.float64):
        p, q = (nn.Parameter(torch.linspace(1, 2, 64, dtype=kind)) for kind in (torch.float64, dtype))
        optimizer = OPTIMIZERS[name].build([p, q] if groups == 1 else [{"params": [p]}, {"params": [q]}])
        for _ in range(2):
            descend(optimizer, lambda p=p, q=q: (p.square().sum() + q.double().square().sum()) / 64)
        assert optimizer.nonfinite_steps() == (0, 0)
        ends.append((p.detach(), q.detach().double()))
    for half, double in zip(*ends, strict=True):
        torch.testing.assert_close(half, double, rtol=0.05, atol=0.05)
    assert not torch.equal(ends[0][1], torch.linspace(1, 2, 64, dtype=torch.bfloat16).double())


def test_sparse_gradients_are_refused() -> None:
    layer = nn.Embedding(5, 3, sparse=True)
    optimizer = EntropySGD(layer.parameters())
    with pytest.raises(ValueError, match=r"sparse gradients are not supported: .* nn\.Embedding\(sparse=False\)"):
        descend(optimizer, lambda: layer(torch.tensor([1])).sum())


def test_a_tensor_lr_of_several_numbers_is_refused_and_one_of_one_number_is_read() -> None:
    p = nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match=r"^lr must be a number >= 0 .*, not tensor"):
        SGD([p], lr=torch.tensor([0.1, 0.2]))
    optimizer = SGD([p], lr=torch.tensor(0.1), momentum=0.0)
    descend(optimizer, p.sum)
    torch.testing.assert_close(p.detach(), torch.full((2,), 0.9))


@pytest.mark.parametrize("equation", ["viscous_hj", "hj", "heat"])
@pytest.mark.parametrize("outer", ["momentum", "adamw"])
def test_a_group_of_pde_relaxed_means_what_the_constructor_means(equation: str, outer: str) -> None:
    own = {"lr": 0.03, "gamma": 0.4, "temperature": 1e-3}
    momentum = {} if outer == "adamw" else {"momentum": 0.5}
    ends = []
    for group, keywords in [(own, {}), ({}, own)]:
        p = nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))
        common = {"outer": outer, "weight_decay": 0.1, "seed": 4, **momentum}
        optimizer = pde_relaxed([{"params": [p], **group}], equation, **common, **keywords)
        for _ in range(3):
            descend(optimizer, lambda p=p: p.pow(4).sum())
        ends.append(p.detach().clone())
        assert optimizer.param_groups[0]["lr"] == 0.03
    assert torch.equal(*ends)


@pytest.mark.parametrize(
    "cycle",
    [
        functools.partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.2, total_steps=12),
        functools.partial(torch.optim.lr_scheduler.CyclicLR, base_lr=0.01, max_lr=0.2, step_size_up=3),
    ],
)
def test_schedulers_that_cycle_the_momentum_do_as_with_torch(cycle: Callable[..., object]) -> None:
    for ours, reference in [(SGD, torch.optim.SGD), (AdamW, torch.optim.AdamW)]:
        ends = []
        for make in (ours, reference):
            net = network()
            keywords = {"lr": 0.1, "momentum": 0.9, "nesterov": True} if reference is torch.optim.SGD else {"lr": 0.01}
            optimizer = make(net.parameters(), **keywords)
            scheduler, batches = cycle(optimizer), Batches(net, optimizer)
            for _ in range(10):
                optimizer.step(batches)
                scheduler.step()
            ends.append(weights(net))
        assert same(*ends)


def test_a_change_by_hand_that_rules_exclude_is_refused() -> None:
    p = nn.Parameter(torch.ones(2))
    optimizer = EntropySGD([p], inner="adamw")
    optimizer.param_groups[0]["temperature"] = 1e-3
    with pytest.raises(ValueError, match="temperature must be 0 with inner=adamw"):
        descend(optimizer, p.sum)
    assert torch.equal(p, torch.ones(2))
    with pytest.raises(ValueError, match="AdamW's weight_decay is decoupled"):
        AdamW([{"params": [p], "decoupled_weight_decay": 0.1}])


def test_groups_share_their_rules() -> None:
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    for key, value in [("outer", "adamw"), ("inner", "adamw"), ("inner_state", "keep")]:
        with pytest.raises(ValueError, match=rf"^{key} must be the same in all parameter groups"):
            EntropySGD([{"params": [a]}, {"params": [b], key: value}], temperature=0.0)


def test_values_that_exclude_each_other_are_refused() -> None:
    p = nn.Parameter(torch.ones(1))
    for make, keywords, message in [
        (EntropySGD, {"weight_decay": 0.1, "decoupled_weight_decay": 0.1}, "weight_decay and decoupled_weight_decay"),
        (Heat, {"outer": "adamw", "momentum": 0.9}, r"momentum is of outer=momentum, and outer=adamw has betas\[0\]"),
        (EntropySGD, {"inner": "adamw", "temperature": 1e-8}, "temperature must be 0 with inner=adamw: a chain whose"),
        (HamiltonJacobi, {"inner": "adamw"}, 'inner and inner_state are of the chain that solver="proximal" has'),
    ]:
        with pytest.raises(ValueError, match=message):
            make([p], **keywords)
