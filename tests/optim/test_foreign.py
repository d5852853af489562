"""Closures, callers, parameters and state dicts that are not ours: right, or refused in one sentence."""

from __future__ import annotations

import copy
import functools
import math
import types
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

from deeprelax.optim import SGD, AdamW, EntropySGD, HamiltonJacobi, Heat, Relaxation, pde_relaxed
from deeprelax.optim.shards import place
from tests.optimizers import OPTIMIZERS

from .problems import ALL, Batches, descend, network, same, weights

# Closures -------------------------------------------------------------------------------------------------------------


@ALL
def test_a_step_ends_without_gradients_and_a_closure_may_forget_to_zero(name: str) -> None:
    nets = network(), network()
    optimizers = [OPTIMIZERS[name].build(net.parameters()) for net in nets]
    batches = [Batches(net, optimizer) for net, optimizer in zip(nets, optimizers, strict=True)]
    batches[1].optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))])  # its zero_grad empties nothing of ours
    for _ in range(3):
        for optimizer, closure in zip(optimizers, batches, strict=True):
            optimizer.step(closure)
        assert all(p.grad is None for net in nets for p in net.parameters())
    assert same(weights(nets[0]), weights(nets[1]))


@ALL
@pytest.mark.parametrize("zero", ["no", "set_to_none", "in place", "the network's"])
def test_a_closure_that_adds_to_a_gradient_that_was_there_is_refused(name: str, zero: str) -> None:
    net = network()
    optimizer = OPTIMIZERS[name].build(net.parameters())
    batches = Batches(net, torch.optim.SGD([nn.Parameter(torch.ones(1))]))
    batches()  # a backward pass before the step, as of a framework that accumulates
    before = weights(net)

    def closure() -> Tensor:
        if zero == "the network's":
            net.zero_grad()
        elif zero != "no":
            optimizer.zero_grad(set_to_none=zero == "set_to_none")
        return batches()

    if zero != "no":
        optimizer.step(closure)
        assert not same(before, weights(net))
        return
    with pytest.raises(ValueError, match=r"the closure accumulates: .* the closure with optimizer\.zero_grad\(\)"):
        optimizer.step(closure)
    assert same(before, weights(net))


def test_gradients_zeroed_in_place_count_from_zero() -> None:
    """The same step with a gradient there, zeroed in place by the closure, and without."""
    ends = []
    for there in (False, True):
        p = nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))
        optimizer = EntropySGD([p], inner_steps=3, temperature=0.0)
        if there:
            p.grad = torch.ones_like(p)

        def closure(p: nn.Parameter = p, optimizer: Relaxation = optimizer) -> Tensor:
            optimizer.zero_grad(set_to_none=False)
            loss = p.pow(4).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        ends.append(p.detach().clone())
    assert torch.equal(*ends)


@ALL
def test_a_closure_may_return_a_number(name: str) -> None:
    nets = network(), network()
    optimizers = [OPTIMIZERS[name].build(net.parameters()) for net in nets]
    closures = [Batches(net, optimizer) for net, optimizer in zip(nets, optimizers, strict=True)]
    for _ in range(2):
        loss = optimizers[0].step(closures[0])
        of_number = optimizers[1].step(lambda: closures[1]().item())
        torch.testing.assert_close(loss, of_number, rtol=1e-15, atol=0)
    assert same(weights(nets[0]), weights(nets[1]))
    optimizers[1].step(lambda: (closures[1](), math.nan)[1])
    assert optimizers[1].nonfinite_steps() == (1, 2)


def test_a_closure_that_runs_out_of_batches_leaves_x() -> None:
    net = network()
    optimizer = EntropySGD(net.parameters(), inner_steps=3)
    batches = Batches(net, optimizer)
    rest = iter(range(2))

    def closure() -> Tensor:
        next(rest)
        return batches()

    before = weights(net)
    with pytest.raises(ValueError, match=r"ran out of batches within a step: it needs an endless loader"):
        optimizer.step(closure)
    assert same(before, weights(net))


def test_a_step_that_a_grad_scaler_calls_is_refused() -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer, scaler = EntropySGD([p], inner_steps=2), torch.amp.GradScaler("cpu")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = p.square().sum()
        scaler.scale(loss).backward()
        return loss

    closure()  # or torch finds nothing to unscale
    with pytest.raises(ValueError, match=r"leaves the gradients of the closure scaled: call optimizer"):
        scaler.step(optimizer, closure)
    assert torch.equal(p, torch.ones(3))
    optimizer.zero_grad()

    def unscaled() -> Tensor:
        loss = closure()
        assert p.grad is not None
        p.grad.mul_(1 / scaler.get_scale())
        return loss

    plain = nn.Parameter(torch.ones(3))
    optimizer.step(unscaled)
    descend(EntropySGD([plain], inner_steps=2), lambda: plain.square().sum())
    torch.testing.assert_close(p, plain, rtol=1e-6, atol=0)
    disabled = torch.amp.GradScaler("cpu", enabled=False)
    disabled.step(optimizer, lambda: scaled_by_nothing(p, optimizer))


def scaled_by_nothing(p: nn.Parameter, optimizer: Relaxation) -> Tensor:
    optimizer.zero_grad()
    loss = p.square().sum()
    loss.backward()
    return loss


def test_five_steps_in_a_row_that_are_not_finite_warn_once() -> None:
    p = nn.Parameter(torch.ones(2))
    optimizer = SGD([p])
    bad = [lambda: p.sum() * math.nan] * 4
    for loss in [*bad, p.sum, *bad]:  # four, a good one, four
        descend(optimizer, loss)
    with pytest.warns(UserWarning, match="5 steps in a row were not finite and changed nothing: lower lr"):
        descend(optimizer, bad[0])
    for _ in range(10):
        descend(optimizer, bad[0])
    asked = SGD([p])
    for _ in range(10):  # who asks needs no warning
        descend(asked, bad[0])
        assert asked.nonfinite_steps()[0] == 1


# Parameters -----------------------------------------------------------------------------------------------------------


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


# State dicts ----------------------------------------------------------------------------------------------------------


def foreign(net: nn.Module) -> Iterator[tuple[Relaxation, dict[str, object]]]:
    """An optimizer, and a state dict that is not its own."""
    for ours, other in [
        (SGD, torch.optim.SGD),
        (AdamW, torch.optim.AdamW),
        (EntropySGD, Heat),
        (Heat, SGD),
        (SGD, EntropySGD),
        (HamiltonJacobi, EntropySGD),
        (EntropySGD, AdamW),
        (SGD, AdamW),
        (AdamW, SGD),
        (EntropySGD, functools.partial(EntropySGD, outer="adamw")),
        (EntropySGD, functools.partial(EntropySGD, inner_state="keep")),
        (functools.partial(pde_relaxed, equation="heat"), pde_relaxed),
        (HamiltonJacobi, functools.partial(HamiltonJacobi, solver="proximal")),
    ]:
        yield ours(net.parameters()), other(net.parameters()).state_dict()
    yield SGD(net.parameters()), {"model": {}}


def test_foreign_state_dicts_are_refused_before_anything_changes() -> None:
    net = network()
    for optimizer, state_dict in foreign(net):
        optimizer.step(Batches(net, optimizer))
        before = copy.deepcopy(optimizer.state_dict())
        with pytest.raises(ValueError, match=rf"^this is no state dict of {type(optimizer).__name__}: "):
            optimizer.load_state_dict(state_dict)
        assert str(before) == str(optimizer.state_dict())
        optimizer.step(Batches(net, optimizer))


def test_a_state_dict_may_be_without_the_names_of_the_parameters() -> None:
    net = network()
    named = SGD(net.named_parameters())
    named.load_state_dict(SGD([{"params": net.parameters(), "name": "all"}]).state_dict())
    assert "param_names" in named.param_groups[0]


@ALL
def test_a_state_dict_survives_saving_as_the_checkpoints_are_saved(name: str, tmp_path: object) -> None:
    net = network(torch.bfloat16) if "keep" in name else network()
    optimizer = OPTIMIZERS[name].build(net.parameters())
    batches = Batches(net, optimizer)
    for _ in range(3):
        optimizer.step(batches)
    torch.save(optimizer.state_dict(), f"{tmp_path}/state.pt")
    again = OPTIMIZERS[name].build(net.parameters())
    again.load_state_dict(torch.load(f"{tmp_path}/state.pt", weights_only=True))
    assert str(again.state_dict()) == str(optimizer.state_dict())


def test_the_steps_of_a_chain_are_not_rounded_to_the_parameters_type() -> None:
    p = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    optimizer = EntropySGD([p], inner="adamw", inner_steps=1001)
    descend(optimizer, lambda: p.square().sum())
    again = EntropySGD([p], inner="adamw")
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert again.state[p]["inner_step"].item() == 1001  # bfloat16 has 1000 and 1004
    net = nn.Linear(2, 2).bfloat16()
    ours, fresh = (EntropySGD(net.parameters(), inner="adamw", inner_steps=1001) for _ in range(2))
    descend(ours, lambda: net(torch.ones(1, 2, dtype=torch.bfloat16)).sum())
    set_optimizer_state_dict(net, fresh, copy.deepcopy(get_optimizer_state_dict(net, ours)))  # by the names
    assert fresh.state[net.weight]["inner_step"].item() == 1001


# A step that fails leaves what the chain keeps ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["entropy_sgd_keep", "entropy_sgd_adamw"])
@pytest.mark.parametrize("fails", ["raises", "nan"])
def test_a_step_that_fails_leaves_what_the_chain_keeps(name: str, fails: str) -> None:
    ends = []
    for failing in (True, False):
        net = network()
        optimizer = OPTIMIZERS[name].build(net.parameters())
        batches = Batches(net, optimizer)
        for step in range(4):
            if failing and step == 2:
                before, calls = copy.deepcopy(optimizer.state_dict()["state"]), batches.calls
                fail(optimizer, batches, calls + 1, fails)
                assert str(before) == str(optimizer.state_dict()["state"])
                batches.calls = calls
                for group in optimizer.param_groups:  # which counts steps that were not finite
                    group["outer_steps"] = step
            optimizer.step(batches)
        ends.append(weights(net))
    assert same(*ends)


def fail(optimizer: Relaxation, batches: Callable[[], Tensor], call: int, how: str) -> None:
    """A step whose second evaluation raises, or gives a gradient that is not finite."""

    def closure() -> Tensor:
        loss = batches()
        if batches.calls - 1 == call:  # type: ignore[attr-defined]
            if how == "raises":
                raise RuntimeError("stop")
            next(p for group in optimizer.param_groups for p in group["params"]).grad.fill_(math.nan)
        return loss

    if how == "raises":
        with pytest.raises(RuntimeError, match="stop"):
            optimizer.step(closure)
    else:
        optimizer.step(closure)
        assert optimizer.nonfinite_steps()[0] == 1


def test_a_fresh_optimizer_allocates_no_velocity_that_no_step_has() -> None:
    p = nn.Parameter(torch.ones(2))
    optimizer = EntropySGD([p], momentum=0.9, inner_momentum=0.0, inner_state="keep")
    p.grad = torch.zeros(2)
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    assert set(optimizer.state[p]) == {"momentum_buffer"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_torch_checkpoint_asks_of_a_fresh_optimizer(name: str) -> None:
    """A step without a closure, every lr and gradient 0: state is there, and all else as it was."""
    net = network()
    case = OPTIMIZERS[name]
    decay = {} if case.make is AdamW else {"weight_decay": 0.1}
    optimizer = case.build(net.parameters(), **decay)
    before, lr = weights(net), optimizer.param_groups[0]["lr"]
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.param_groups[0]["lr"] = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step(closure=None)
    optimizer.param_groups[0]["lr"] = lr
    optimizer.zero_grad()
    assert same(before, weights(net))
    assert optimizer.param_groups[0]["outer_steps"] == 0
    allocated = {p: set(state) for p, state in optimizer.state.items()}
    fresh = case.build((other := network()).parameters(), **decay)
    fresh.step(Batches(other, fresh))
    stepped = [set(fresh.state[p]) for p in other.parameters()]
    assert [allocated.get(p, set()) for p in net.parameters()] == stepped
    optimizer.step(Batches(net, optimizer))
    assert same(weights(net), weights(other))
