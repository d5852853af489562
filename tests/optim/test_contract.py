"""What every optimizer promises, whatever its direction: calls, state, groups, copies."""

from __future__ import annotations

import copy
import inspect
import itertools
import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from deeprelax.optim import SGD
from tests.optimizers import OPTIMIZERS

from .problems import ALL, Batches, descend, identical, network, same, weights


@ALL
def test_calls_the_closure_exactly_inner_steps_times_and_returns_the_mean_loss(name: str) -> None:
    net = network()
    optimizer = OPTIMIZERS[name].build(net.parameters())
    batches, losses = Batches(net, optimizer), []

    def closure(evaluate: Callable[[], Tensor] = batches) -> Tensor:
        losses.append(evaluate())
        return losses[-1]

    loss = optimizer.step(closure, again=lambda: closure(batches.again))
    assert len(losses) == optimizer.evaluations
    assert loss.shape == ()
    assert not loss.requires_grad
    torch.testing.assert_close(loss, torch.stack(losses).mean().detach())


@ALL
def test_a_closure_that_raises_leaves_x(name: str) -> None:
    net = network()
    optimizer = OPTIMIZERS[name].build(net.parameters())
    batches = Batches(net, optimizer)
    optimizer.step(batches)
    before, state = weights(net), copy.deepcopy(optimizer.state_dict())
    for failing in range(optimizer.evaluations):
        left = iter(range(failing))

        def closure(left: Iterator[int] = left) -> Tensor:
            if next(left, None) is None:
                raise RuntimeError("no more data")
            return batches()

        with pytest.raises(RuntimeError, match="no more data"):
            optimizer.step(closure, again=closure)
        assert same(before, weights(net))
        assert identical(state, optimizer.state_dict())


@ALL
def test_a_resumed_optimizer_equals_one_that_never_stopped(name: str) -> None:
    net, other = network(), network(seed=1)
    optimizer = OPTIMIZERS[name].build(net.parameters())
    batches = Batches(net, optimizer)
    for _ in range(4):
        optimizer.step(batches)
    resumed = OPTIMIZERS[name].build(other.parameters())
    other.load_state_dict(net.state_dict())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    later = Batches(other, resumed)
    later.calls = batches.calls
    for _ in range(4):
        optimizer.step(batches)
        resumed.step(later)
    assert same(weights(net), weights(other))


# whose steps are not lr d: AdamW's are of d's moments, and of Schedule-Free x is a mean (test_schedule_free.py)
OTHER_STEPS = ("adamw", "schedule_free")


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if not any(other in name for other in OTHER_STEPS)])
def test_the_lr_of_a_scheduler_is_the_lr_used(name: str) -> None:
    net = network()
    case = OPTIMIZERS[name]
    # the mean of elastic_sgd is pulled beside d
    keys = {"momentum", "moving_rate"} & set(inspect.signature(case.make).parameters)
    optimizer = case.build(net.parameters(), **dict.fromkeys(keys, 0.0))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    batches = Batches(net, optimizer)
    for _ in range(3):
        before, lr = weights(net), optimizer.param_groups[0]["lr"]
        optimizer.step(batches)
        moved = math.sqrt(sum((a - b).square().sum().item() for a, b in zip(before, weights(net), strict=True)))
        on_d = optimizer.scalars()["lr"]
        assert moved == pytest.approx(on_d * optimizer.direction_norm().item(), rel=1e-12)
        assert on_d == lr / (optimizer.param_groups[0]["gamma"] if name == "pde_relaxed" else 1.0)
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.125 * scheduler.base_lrs[0])


@ALL
def test_hyper_parameters_changed_by_hand_act_at_once(name: str) -> None:
    p = nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))
    optimizer = OPTIMIZERS[name].build([p], lr=0.01)
    key = optimizer.evaluations_key
    calls = [0]

    def loss() -> Tensor:
        calls[0] += 1
        return p.square().sum()

    if key is not None:
        optimizer.param_groups[0][key] = 7
        descend(optimizer, loss)
        assert calls[0] == 7 * (1 if key == "replicas" else optimizer.param_groups[0].get("replicas", 1))
    optimizer.param_groups[0]["lr"] = 0.0
    for other in {"momentum", "moving_rate"} & set(optimizer.param_groups[0]):
        optimizer.param_groups[0][other] = 0.0
    before = p.detach().clone()
    descend(optimizer, loss)
    assert torch.equal(p, before)


@ALL
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_non_finite_step_changes_nothing_and_is_counted(name: str, where: str) -> None:
    net = network()
    optimizer = OPTIMIZERS[name].build(net.parameters())
    batches = Batches(net, optimizer)
    optimizer.step(batches)
    before = weights(net)
    state = copy.deepcopy(optimizer.state_dict()["state"])
    assert optimizer.nonfinite_steps() == (0, 0)

    def spoiled(bad: int) -> Tensor:
        """A step, of whose gradients this one is not finite, or its loss is not."""
        calls = itertools.count()

        def closure(evaluate: Callable[[], Tensor] = batches) -> Tensor:
            loss = evaluate()
            if next(calls) != bad:
                return loss
            if where == "gradient":
                next(net.parameters()).grad.view(-1)[0] = math.inf
            return loss if where == "gradient" else loss * math.nan

        return optimizer.step(closure, again=lambda: closure(batches.again))

    for bad in range(optimizer.evaluations):
        loss = spoiled(bad)
        assert where == "gradient" or torch.isnan(loss)
        assert same(before, weights(net))
        assert identical(state, optimizer.state_dict()["state"])
        assert optimizer.param_groups[0]["outer_steps"] == 2 + bad
        assert optimizer.nonfinite_steps() == (1, 1 + bad)
    for _ in range(2):
        spoiled(optimizer.evaluations - 1)
    assert optimizer.nonfinite_steps() == (2, 1 + optimizer.evaluations)
    assert optimizer.nonfinite_steps() == (0, 0)
    optimizer.step(batches)
    assert not same(before, weights(net))


def test_a_directions_mean_over_ranks_is_what_is_descended() -> None:
    p = nn.Parameter(torch.ones(4, dtype=torch.float64))
    optimizer = SGD([p], lr=1.0, momentum=0.0)
    seen: list[int] = []

    def halve(tensors: list[Tensor]) -> None:
        seen.append(len(tensors))
        torch._foreach_mul_(tensors, 0.5)

    optimizer.reduce_direction = halve
    loss = descend(optimizer, lambda: p.square().sum())
    assert torch.equal(p, torch.zeros_like(p))
    assert loss.item() == 2.0
    assert seen == [2]


@ALL
def test_scratch_is_reused_and_is_not_state(name: str) -> None:
    net = network()
    optimizer = OPTIMIZERS[name].build(net.parameters())
    batches = Batches(net, optimizer)
    optimizer.step(batches)
    buffers = {id(t) for kind in optimizer.workspace.held.values() for t in kind.flats}
    held = optimizer.memory()
    optimizer.step(batches)
    assert {id(t) for kind in optimizer.workspace.held.values() for t in kind.flats} == buffers
    assert optimizer.memory() == held
    group = optimizer.param_groups[0]
    names = set(optimizer.rule(group).names(group))
    if group.get("inner_state") == "keep":
        names |= {f"inner_{name}" for name in ("velocity", "step", "exp_avg", "exp_avg_sq")}
    of_replicas = {f"replica_{a}" for a in range(group.get("replicas", 0))}
    names |= {"centre"} | of_replicas | {f"{replica}_{name}" for replica in of_replicas for name in names}
    assert all(set(state) <= names for state in optimizer.state.values())


@ALL
def test_a_copied_optimizer_works(name: str) -> None:
    net = network()
    optimizer = OPTIMIZERS[name].build(net.parameters())
    optimizer.step(Batches(net, optimizer))
    twin_net, twin = copy.deepcopy((net, optimizer))
    for n, o in [(net, optimizer), (twin_net, twin)]:
        o.step(Batches(n, o))
    assert same(weights(net), weights(twin_net))
