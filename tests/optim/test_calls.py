"""Loops that own `step()`: one gradient a call, no closure."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from deeprelax.optim import SGD, EntropySGD, Heat
from tests.optimizers import OPTIMIZERS

from .problems import ALL, Batches, call, identical, network, pair, same, weights
from .test_groups import Mine


@ALL
def test_calls_equal_a_closure_bit_for_bit(name: str) -> None:
    nets, (closed, called), batches = pair(name)
    for _ in range(4):
        closed.step(batches[0])
        call(called, batches[1], called.evaluations)
        with called.swapped_to_x():
            assert same(weights(nets[0]), weights(nets[1]))
            assert identical(closed.state_dict(), called.state_dict())
        assert closed.direction_norm() == called.direction_norm()
    assert batches[0].calls == batches[1].calls


@ALL
def test_within_a_step_the_weights_are_y_and_can_be_swapped(name: str) -> None:
    nets, (_, optimizer), (_, batches) = pair(name)
    moves = optimizer.moves and optimizer.evaluations > 1
    call(optimizer, batches, optimizer.evaluations)  # replicas are apart after a step
    with optimizer.swapped_to_x():
        x = weights(nets[1])
    call(optimizer, batches, 1)
    assert optimizer.at_x == (optimizer.evaluations == 1 and not optimizer.starts_away)
    y = weights(nets[1])
    with optimizer.swapped_to_x():
        assert same(x, weights(nets[1])) == moves
    assert same(y, weights(nets[1]))
    if moves:
        assert not same(x, y)
        with pytest.raises(ValueError, match=r"by calls without a closure: finish it so"):
            optimizer.step(batches)


@ALL
def test_a_resumed_loop_equals_one_that_never_stopped(name: str) -> None:
    nets, (_, optimizer), (_, batches) = pair(name)
    call(optimizer, batches, 2 * optimizer.evaluations)
    resumed = OPTIMIZERS[name].build(nets[0].parameters())
    with optimizer.swapped_to_x():
        nets[0].load_state_dict(nets[1].state_dict())
        resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    resumed.begin()
    later = Batches(nets[0], resumed)
    later.calls = batches.calls
    for each, closure in ((optimizer, batches), (resumed, later)):
        call(each, closure, 2 * each.evaluations)
    with optimizer.swapped_to_x(), resumed.swapped_to_x():
        assert same(weights(nets[0]), weights(nets[1]))


def test_a_first_gradient_away_from_x_needs_to_be_begun() -> None:
    net = network()
    optimizer = Heat(net.parameters())
    batches = Batches(net, optimizer)
    batches()
    before = weights(net)
    with pytest.raises(ValueError, match=r"of Heat is taken away from x: call optimizer\.begin"):
        optimizer.step()
    assert same(before, weights(net))
    optimizer.begin()
    assert not optimizer.at_x
    assert not same(before, weights(net))
    optimizer.zero_grad()
    optimizer.step(batches)  # a closure begins its own step, from x
    assert optimizer.at_x
    other = network()
    Heat(other.parameters()).step(Batches_of(other, 1))
    assert same(weights(net), weights(other))


class Batches_of(Batches):  # noqa: N801
    """That begin at the batch of this number."""

    def __init__(self, net: nn.Module, calls: int) -> None:
        super().__init__(net, torch.optim.SGD(net.parameters()))
        self.calls = calls


def test_a_class_with_a_direction_of_its_own_needs_a_closure() -> None:
    p = nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match=r"(?s)so step needs a closure that evaluates the NEXT mini-batch"):
        Mine([p]).step()


@pytest.mark.parametrize("where", range(3))
def test_a_gradient_that_is_not_finite_leaves_x_and_counts_the_step(where: int) -> None:
    net = network()
    optimizer = OPTIMIZERS["entropy_sgd_adamw"].build(net.parameters())
    batches = Batches(net, optimizer)
    call(optimizer, batches, 3)
    x, state = weights(net), copy.deepcopy(optimizer.state_dict()["state"])
    for i in range(3):
        batches()
        if i == where:
            next(net.parameters()).grad.fill_(math.nan)
        optimizer.step()
    assert same(x, weights(net))
    assert identical(state, optimizer.state_dict()["state"])
    assert optimizer.nonfinite_steps() == (1, 1)


def test_what_raises_within_a_call_leaves_x(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    optimizer = OPTIMIZERS["entropy_sgd_keep"].build(net.parameters())
    batches = Batches(net, optimizer)
    call(optimizer, batches, 3)
    x, state = weights(net), copy.deepcopy(optimizer.state_dict())
    call(optimizer, batches, 1)
    batches()
    with monkeypatch.context() as patch:
        patch.setattr(EntropySGD, "after", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            optimizer.step()
    assert same(x, weights(net))
    assert identical(state, optimizer.state_dict())


@ALL
def test_schedulers_count_calls_and_hyper_parameters_are_read_at_the_first(name: str) -> None:
    """With a closure they count outer steps; without, calls, of which the outer step uses the first one's rate."""
    nets, (closed, called), batches = pair(name)
    scheduler = torch.optim.lr_scheduler.LambdaLR(called, lambda k: 1 / (1 + k))
    (rate,) = scheduler.base_lrs
    for step in range(4):
        closed.param_groups[0]["lr"] = rate * (1 / (1 + step * closed.evaluations))
        closed.step(batches[0])
        for _ in range(called.evaluations):
            call(called, batches[1], 1)
            scheduler.step()
        with called.swapped_to_x():
            assert same(weights(nets[0]), weights(nets[1]))


def test_a_change_between_two_steps_acts_but_on_the_place_that_the_weights_have_reached() -> None:
    """Heat of the sum of x^2, whose gradient is 2 y: of two samples the first keeps its sigma, the second is at x."""
    p = nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))
    optimizer = Heat([p], lr=0.1, momentum=0.0, sigma=0.5, filter_normalized=False, samples=3)
    optimizer.begin()
    y = p.detach().clone()
    optimizer.param_groups[0].update(sigma=0.0, samples=2)
    for _ in range(2):
        optimizer.zero_grad()
        p.square().sum().backward()
        optimizer.step()
    assert optimizer.at_x
    x = torch.tensor([2.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(p.detach(), x - 0.1 * (y + x), rtol=1e-14, atol=0)


@pytest.mark.parametrize("taken", [0, 1])
def test_a_group_that_cannot_join_here_changes_nothing(taken: int) -> None:
    nets, (closed, called), batches = pair("heat")
    call(called, batches[1], taken)
    y, other = weights(nets[1]), nn.Parameter(torch.ones(2, dtype=torch.float64))
    sentence = rf"^a parameter group joins between outer steps, and outside .* of which {taken} of 2 gradients"
    with called.swapped_to_x(), pytest.raises(ValueError, match=sentence):
        called.add_param_group({"params": [other]})
    with pytest.raises(ValueError, match=sentence if taken else "more than one parameter group"):
        called.add_param_group({"params": [other if taken else next(nets[1].parameters())]})
    assert same(y, weights(nets[1]))
    call(called, batches[1], 2 - taken)
    closed.step(batches[0])
    with called.swapped_to_x():
        assert same(weights(nets[0]), weights(nets[1]))


def test_the_loop_of_every_tutorial() -> None:
    """zero_grad first, a scaler that does not scale, and accumulation over two half batches."""
    nets = network(), network()
    optimizer, reference = SGD(nets[0].parameters()), torch.optim.SGD(nets[1].parameters(), 0.1, 0.9, nesterov=True)
    for each, net in zip((optimizer, reference), nets, strict=True):
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        for step in range(3):
            each.zero_grad()
            for half in range(2):
                generator = torch.Generator().manual_seed(2 * step + half)
                images = torch.randn(4, 1, 6, 6, generator=generator).double()
                loss = net(images).square().mean() / 2
                scaler.scale(loss).backward()
            scaler.step(each)
            scaler.update()
    assert same(weights(nets[0]), weights(nets[1]))


@ALL
def test_a_group_added_to_a_loop_without_closures_takes_part_in_the_next_step(name: str) -> None:
    """As in a loop with closures; within a step it is refused, and nothing changes."""
    nets = network(), network()
    params = [list(net.parameters()) for net in nets]
    closed, called = (OPTIMIZERS[name].build(each[:3]) for each in params)
    called.begin()
    batches = Batches(nets[0], closed), Batches(nets[1], called)
    for _ in range(2):
        closed.step(batches[0])
        call(called, batches[1], called.evaluations)
        if len(closed.param_groups) == 1:
            for optimizer, each in zip((closed, called), params, strict=True):
                optimizer.add_param_group({"params": each[3:]})
            called.state_dict()
    with called.swapped_to_x():
        assert same(weights(nets[0]), weights(nets[1]))
    if called.evaluations > 1:
        call(called, batches[1], 1)
        with pytest.raises(ValueError, match="of which 1 of"):
            called.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
        assert len(called.param_groups) == 2
