"""The mean beside x: its weights in closed form, and what its evaluation leaves alone."""

from __future__ import annotations

import math
from contextlib import nullcontext
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from deeprelax.errors import UserError
from deeprelax.optim.batchnorm import reestimate_batchnorm
from deeprelax.training.average import Average
from deeprelax.training.cadence import Budget


class Line(nn.Module):
    """Any tensor as the parameters."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = nn.Parameter(x)


def average(model: nn.Module, rule: str, budget: Budget | None = None, **options: float) -> Average:
    keys: dict[str, float] = {"decay": 0.9, "start": 0.75, "every": 1.0, "last": 6} | options
    return Average(model, budget or Budget(8, 10, 1, 1), rule, **keys)  # type: ignore[arg-type]


def weights(rule: str, ends: list[int], budget: Budget | None = None, **options: float) -> Tensor:
    """The weight of each x_t in the mean after outer steps that end at these counts: x_t is the t-th unit vector."""
    model = Line(torch.zeros(len(ends), dtype=torch.float64))
    found = average(model, rule, budget, **options)
    for t, (before, end) in enumerate(zip([0, *ends], ends, strict=False)):
        with torch.no_grad():
            model.x.zero_()
            model.x[t] = 1.0
        found.update(end, before)
    return found.mean["x"]


@pytest.mark.parametrize("steps", [1, 2, 50])
def test_ema_is_the_weighted_mean_without_the_initial_weights(steps: int) -> None:
    a = 0.9
    exact = torch.tensor(
        [(1 - a) * a ** (steps - t) / (1 - a**steps) for t in range(1, steps + 1)], dtype=torch.float64
    )
    assert torch.allclose(weights("ema", list(range(1, steps + 1)), decay=a), exact, rtol=0, atol=1e-15)


def test_a_pass_weighs_the_same_in_outer_steps_of_any_length() -> None:
    """A step of n gradients has the weight of n steps of one: also where steps differ, as those of L-BFGS."""
    ends = [3, 4, 10, 11, 31]
    one_by_one = weights("ema", list(range(1, 32)), decay=0.97)
    exact = torch.stack([part.sum() for part in one_by_one.split([3, 1, 6, 1, 20])])
    assert torch.allclose(weights("ema", ends, decay=0.97), exact, rtol=0, atol=1e-14)


@pytest.mark.parametrize("a", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("r", [-0.5, 0.0, 0.8])
def test_the_variance_of_the_ema_of_a_noisy_quadratic(a: float, r: float) -> None:
    """x of SGD on lam/2 x^2 with noise has covariance r^|i-j|, r = 1 - lr lam, and its mean a variance by formula."""
    w = weights("ema", list(range(1, 4001)), decay=a)
    t = torch.arange(len(w), dtype=torch.float64)
    covariance = torch.tensor(r, dtype=torch.float64) ** (t[:, None] - t[None, :]).abs()
    exact = (1 - a) * (1 + a * r) / ((1 + a) * (1 - a * r))
    assert math.isclose(float(w @ covariance @ w), exact, rel_tol=1e-10)


def test_swa_is_the_mean_of_the_snapshots_of_the_tail() -> None:
    budget = Budget(8, 10, 1, 1)
    found = weights("swa", list(range(1, 81)), budget)  # passes 6, 7 and 8
    exact = torch.zeros(80, dtype=torch.float64)
    exact[[59, 69, 79]] = 1 / 3
    assert torch.allclose(found, exact, rtol=0, atol=1e-15)
    whole = weights("swa", list(range(1, 81)), budget, start=0.0, every=0.1)
    assert torch.allclose(whole, torch.full((80,), 1 / 80, dtype=torch.float64), rtol=0, atol=1e-15)


def test_lawa_is_the_mean_of_the_last_snapshots() -> None:
    budget = Budget(8, 10, 1, 1)
    exact = torch.zeros(80, dtype=torch.float64)
    exact[[49, 59, 69, 79]] = 1 / 4
    assert torch.equal(weights("lawa", list(range(1, 81)), budget, last=4), exact)
    few = torch.zeros(25, dtype=torch.float64)
    few[[9, 19]] = 1 / 2  # not yet four of them
    assert torch.equal(weights("lawa", list(range(1, 26)), budget, last=4), few)


def test_a_budget_of_whole_passes_ends_on_a_snapshot_however_it_is_rounded() -> None:
    """2,343 batches of 128 are 4.998 passes over 60,000 images: the last step is the snapshot of pass 5."""
    for per_step in (1, 20, 7):
        budget = Budget(5, 60_000, 128, per_step)
        ends = [per_step * k for k in range(1, budget.outer_steps + 1)]
        taken = [
            end for before, end in zip([0, *ends], ends, strict=False) if budget.ends_at(1, end, before, Fraction())
        ]
        assert taken == [max(end for end in ends if end * 128 <= n * 60_000) for n in range(1, 6)]
        assert taken[-1] == ends[-1]


@pytest.mark.parametrize(("rule", "every"), [("swa", 9.0), ("lawa", 9.0), ("swa", 5.0)])
def test_a_mean_that_would_stay_empty_is_refused(rule: str, every: float) -> None:
    with pytest.raises(UserError, match=rf"^train.average={rule} takes a snapshot of x at .* multiple of train.av"):
        average(nn.Linear(2, 2), rule, every=every).check(0)


@pytest.mark.parametrize("rule", ["swa", "lawa"])
@pytest.mark.parametrize("per_step", [1, 7, 20])
@pytest.mark.parametrize("every", [0.3, 1.0, 3.0])
def test_it_is_refused_wherever_no_snapshot_is_left(rule: str, per_step: int, every: float) -> None:
    """At any step of a run, which may have come to it without a mean."""
    budget = Budget(6.5, 200, 32, per_step)
    ends = range(0, budget.taken + 1, per_step)
    refused = 0
    for begin in ends:
        found = average(Line(torch.zeros(1)), rule, budget, every=every)
        for before in ends[:-1]:
            if before >= begin:
                found.update(before + per_step, before)
        empty, found = not found.mean, average(Line(torch.zeros(1)), rule, budget, every=every)
        with pytest.raises(UserError) if empty else nullcontext():
            found.check(begin)
        refused += empty
    assert 0 < refused < len(ends)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))


def moved(model: nn.Module, found: Average, steps: int = 5) -> list[list[Tensor]]:
    """All parameters after each of some steps that move those that are trained."""
    points = []
    for k in range(steps):
        with torch.no_grad():
            for p in model.parameters():
                if p.requires_grad:
                    p += torch.randn(p.shape, generator=torch.Generator().manual_seed(k)).to(p.dtype)
        found.update(k + 1, k)
        points.append([p.detach().clone() for p in model.parameters()])
    return points


@pytest.mark.parametrize("rule", ["ema", "swa", "lawa"])
def test_its_evaluation_leaves_x_buffers_and_modes_as_they_were(rule: str) -> None:
    model, inputs = network(), torch.randn(20, 3, generator=torch.Generator().manual_seed(7))
    found = average(model, rule, Budget(8, 1, 1, 1), start=0.0)
    moved(model, found)
    reestimate_batchnorm(model, [inputs])
    before, modes = {k: v.clone() for k, v in model.state_dict().items()}, [m.training for m in model.modules()]
    state = torch.random.get_rng_state()
    seen: list[dict[str, Tensor]] = []

    def evaluate() -> dict[str, dict[str, float]]:
        reestimate_batchnorm(model, [inputs])
        seen.append({k: v.clone() for k, v in model.state_dict().items()})
        return {"test": {"loss": model[0].weight.sum().item()}}

    scores = found.beside(evaluate)()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), state)
    assert scores["test"] == {"loss": float(before["0.weight"].sum()), "loss_average": float(seen[1]["0.weight"].sum())}
    assert all(torch.equal(seen[1][name], value) for name, value in found.mean.items())
    # its statistics are those at the mean, and neither x's nor a mean of statistics
    assert all(torch.equal(seen[1][name], value) for name, value in found.buffers.items())
    assert not torch.equal(found.buffers["1.running_mean"], before["1.running_mean"])
    with pytest.raises(RuntimeError), found.in_network():
        raise RuntimeError
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_frozen_parameters_are_in_no_mean() -> None:
    model = network()
    model[0].weight.requires_grad_(False)
    found = average(model, "lawa", Budget(8, 1, 1, 1), last=3)
    points = moved(model, found)
    assert "0.weight" not in found.mean
    assert torch.allclose(found.mean["3.bias"], torch.stack([point[-1] for point in points[-3:]]).mean(0), atol=1e-7)


def test_parameters_of_16_bits_are_averaged_in_32() -> None:
    """a = 0.999 of bfloat16 numbers would round to no change at all: 1 + 0.001 is 1 there."""
    model = Line(torch.ones(1, dtype=torch.bfloat16))
    found = average(model, "ema", decay=0.999)
    found.update(1, 0)
    with torch.no_grad():
        model.x.fill_(2.0)
    for k in range(1, 400):
        found.update(k + 1, k)
    kept = found.state()["kept"][0][0]
    share = (1 - 0.999) * 0.999**399 / (1 - 0.999**400)  # of the first x
    assert (kept.dtype, found.mean["x"].dtype) == (torch.float32, torch.bfloat16)
    assert float(kept) == pytest.approx(2 - share, abs=1e-5)


@pytest.mark.parametrize("rule", ["ema", "swa", "lawa"])
def test_what_is_restored_continues_as_if_nothing_had_been(rule: str) -> None:
    model, other = network(), network()
    budget = Budget(8, 1, 1, 1)
    whole, found = average(model, rule, budget), average(other, rule, budget)
    moved(model, whole, 7)
    moved(other, found, 7)
    again = average(other, rule, budget)
    again.load_state(found.state())
    for mean in (whole, again):
        mean.update(8, 7)
    assert all(torch.equal(value, again.mean[name]) for name, value in whole.mean.items())
