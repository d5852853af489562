"""Closures and callers that are not ours: right, or refused in one sentence."""

from __future__ import annotations

import functools
import math
import warnings

import pytest
import torch
from torch import Tensor, nn

from deeprelax.optim import SGD, EntropySGD, Relaxation
from tests.optimizers import OPTIMIZERS

from .problems import ALL, Batches, descend, network, pair, same, weights


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
        optimizer.step(closure, again=closure)
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
        of_number = optimizers[1].step(lambda: closures[1]().item(), again=lambda: closures[1].again().item())
        torch.testing.assert_close(loss, of_number, rtol=1e-15, atol=0)
    assert same(weights(nets[0]), weights(nets[1]))
    bad = lambda: (closures[1](), math.nan)[1]  # noqa: E731
    optimizers[1].step(bad, again=bad)
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


@ALL
def test_closures_that_repeat_one_batch_give_one_gradient_each(name: str) -> None:
    """closure_calls="once": the steps of calls without a closure, and the loss is the closure's."""
    nets = network(), network()
    closed = OPTIMIZERS[name].build(nets[0].parameters())
    once = OPTIMIZERS[name].build(nets[1].parameters(), closure_calls="once")
    batches = Batches(nets[0], closed), Batches(nets[1], once)
    for _ in range(3):
        mean = closed.step(batches[0])
        losses = [once.step(batches[1]) for _ in range(once.batches)]
        torch.testing.assert_close(torch.stack(losses).mean(), mean, rtol=1e-14, atol=0)
        assert same(weights(nets[0]), weights(nets[1]))
        assert once.at_x
    assert batches[1].calls == 3 * once.batches


def test_a_closure_of_lightning_or_skorch_is_warned_of_once() -> None:
    for module in ("skorch.net", "pytorch_lightning.loops.optimization.automatic", "lightning.pytorch.loops.fit_loop"):
        net = network()
        for calls, warned in (("all", 1), ("once", 0)):
            optimizer = EntropySGD(net.parameters(), inner_steps=2, closure_calls=calls)
            batches = Batches(net, optimizer)

            def closure(batches: Batches = batches) -> Tensor:
                return batches()

            closure.__module__ = module
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                for _ in range(3):
                    optimizer.step(functools.partial(lambda inner: inner(), closure) if "loops" in module else closure)
            assert [str(each.message).count('closure_calls="once"') for each in caught] == [1] * warned


def test_lightnings_closure_in_the_place_of_none_takes_the_gradient_that_is_there() -> None:
    nets, (closed, called), batches = pair("entropy_sgd")
    hooks = []

    def do_nothing_closure() -> None:
        hooks.append("clipped")

    closed.step(batches[0])
    for _ in range(called.evaluations):
        called.zero_grad()
        batches[1]()
        called.step(functools.partial(lambda module, inner: inner(), "module", do_nothing_closure))
    assert same(weights(nets[0]), weights(nets[1]))
    assert len(hooks) == called.evaluations
