"""L-BFGS: what a step resumes from, and what one that fails leaves."""

from __future__ import annotations

import copy
import io
import math
import pickle

import pytest
import torch
from torch import Tensor, nn

from deeprelax.optim import LBFGS

from .functions import closure_of, flat, of_network, rosenbrock, state_of
from .problems import network, same, weights


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
