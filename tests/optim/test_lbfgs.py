"""L-BFGS: torch's bit for bit, its closed form and its bound."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deeprelax.optim import LBFGS, SGD
from deeprelax.optim.torch_lbfgs import overshoot

from .functions import closure_of, flat, of_network, rosenbrock
from .problems import network, quadratic_loss, random_quadratic, same, weights


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
