"""Several gradients of one mini-batch: with closures, without, and by frameworks that repeat a batch."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from deeprelax.optim import Relaxation, kept_statistics
from deeprelax.optim.scratch import Block

from .problems import network, same, weights


class Ahead(Relaxation):
    """d = grad f(y3; b2), y1 = x on b1, y2 on b1 too, y3 on b2: each y a step of 0.1 along the gradient before."""

    def __init__(self, params: object, closure_calls: str = "all") -> None:
        super().__init__(params, {"lr": 0.1, "closure_calls": closure_calls})

    @property
    def evaluations(self) -> int:
        return 3

    def again(self, i: int) -> bool:
        return i == 1

    def after(self, i: int, blocks: list[Block]) -> None:
        for block in blocks:
            if i < 2:
                torch._foreach_add_(block.y, block.gradients(), alpha=-0.1)
            else:
                block.take_gradients()


class Own(Ahead):
    """The same by a `direction` of its own."""

    def direction(self, evaluate: Callable[..., None], blocks: list[Block]) -> None:
        for i in range(3):
            evaluate(again=i == 1)
            self.after(i, blocks)


class Drawn:
    """A closure on batches of a sequence, which notes them."""

    def __init__(self, net: nn.Module, optimizer: Relaxation) -> None:
        self.net, self.optimizer, self.seen = net, optimizer, list[int]()

    def __call__(self) -> Tensor:
        return self.on(max(self.seen, default=-1) + 1)

    def on(self, k: int) -> Tensor:
        self.seen.append(k)
        x = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(k)).double()
        self.optimizer.zero_grad()
        loss = self.net(x).square().mean()
        loss.backward()
        return loss

    def repeat(self) -> Tensor:
        return self.on(self.seen[-1])


def made(kind: type[Ahead] = Ahead, **keywords: str) -> tuple[nn.Module, Ahead, Drawn]:
    net = network()
    optimizer = kind(net.parameters(), **keywords)
    return net, optimizer, Drawn(net, optimizer)


def by_hand(steps: int) -> list[Tensor]:
    net, _, drawn = made()
    for step in range(steps):
        x = weights(net)
        for i, k in enumerate((2 * step, 2 * step, 2 * step + 1)):
            drawn.on(k)
            with torch.no_grad():
                for p, start in zip(net.parameters(), x, strict=True):
                    p.copy_(start.add(p.grad, alpha=-0.1) if i == 2 else p.add(p.grad, alpha=-0.1))
    return weights(net)


@pytest.mark.parametrize("kind", [Ahead, Own])
def test_the_second_closure_evaluates_the_same_batch(kind: type[Ahead]) -> None:
    net, optimizer, drawn = made(kind)
    assert (optimizer.evaluations, optimizer.batches) == (3, 2)
    for _ in range(2):
        optimizer.step(drawn, again=drawn.repeat)
    assert drawn.seen == [0, 0, 1, 2, 2, 3]
    assert same(weights(net), by_hand(2))


def test_a_closure_may_bring_its_own() -> None:
    net, optimizer, drawn = made()
    drawn.again = drawn.repeat  # type: ignore[attr-defined]
    for _ in range(2):
        optimizer.step(drawn)
    assert same(weights(net), by_hand(2))


@pytest.mark.parametrize("kind", [Ahead, Own])
def test_without_it_one_sentence_says_what_to_write(kind: type[Ahead]) -> None:
    net, optimizer, drawn = made(kind)
    before = weights(net)
    with pytest.raises(ValueError, match=rf"^{kind.__name__} takes gradient 2 of a step .*\(closure, again=closure2\)"):
        optimizer.step(drawn)
    assert same(before, weights(net))
    optimizer.step(drawn, again=drawn.repeat)
    assert optimizer.param_groups[0]["outer_steps"] == 1


def test_a_loop_without_closures_asks_and_repeats() -> None:
    net, optimizer, drawn = made()
    calls = 0
    for k in range(4):
        again = True
        while again:
            drawn.on(k)
            optimizer.step()
            optimizer.zero_grad()
            calls, again = calls + 1, optimizer.same_batch()
    assert calls == 6
    assert optimizer.at_x
    assert same(weights(net), by_hand(2))


def test_a_loop_that_does_not_ask_is_told() -> None:
    net, optimizer, drawn = made()
    drawn.on(0)
    optimizer.step()
    y = weights(net)
    drawn.on(1)
    with pytest.raises(
        ValueError, match=r"^Ahead takes gradient 2 .* repeat the batch while optimizer\.same_batch\(\)"
    ):
        optimizer.step()
    assert same(y, weights(net))  # nothing is taken in
    assert optimizer.same_batch()
    for k in (0, 1):
        drawn.on(k)
        optimizer.step()
    assert same(weights(net), by_hand(1))


@pytest.mark.parametrize("calls", ["all", "once"])
def test_closures_of_frameworks_that_repeat_a_batch(calls: str) -> None:
    """Lightning's automatic optimization and skorch: the closure itself is on the same batch."""
    net, optimizer, drawn = made(closure_calls=calls)

    def lightnings(k: int) -> Callable[[], Tensor]:
        def closure() -> Tensor:
            return drawn.on(k)

        closure.__module__ = "lightning.pytorch.loops.fit_loop"
        return functools.partial(lambda inner: inner(), closure)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for k in range(4 if calls == "once" else 1):
            optimizer.step(lightnings(k))
    if calls == "once":
        assert not caught
        assert drawn.seen == [0, 0, 1, 2, 2, 3]
        assert same(weights(net), by_hand(2))
    else:  # this optimizer takes a second batch in a step, too
        assert ['closure_calls="once"' in str(each.message) for each in caught] == [True]


def test_statistics_of_batch_norm_are_kept_and_the_output_is_that_of_training() -> None:
    net = network()
    x = torch.randn(8, 1, 6, 6, dtype=torch.float64)
    expected = net(x)
    before = [buffer.clone() for buffer in net.buffers()]
    with kept_statistics(net):
        found = net(x)
        assert not same(before, list(net.buffers()))
    assert torch.equal(found, expected)
    assert same(before, list(net.buffers()))
    with pytest.raises(RuntimeError, match="shape"), kept_statistics(net):
        net(x.reshape(16, 1, 3, 6))  # the layers after batch norm do not take it
    assert same(before, list(net.buffers()))


class Rebinding(nn.Module):
    """Its buffer is another tensor after each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.mean()
        return x - self.mean


def test_a_buffer_that_a_layer_binds_anew_is_kept_too() -> None:
    net = nn.Sequential(Rebinding())
    net(torch.ones(3))
    before = net[0].mean
    with kept_statistics(net):
        net(torch.ones(3))
        assert net[0].mean is not before
    assert net[0].mean is before
    assert before.item() == pytest.approx(0.1)
