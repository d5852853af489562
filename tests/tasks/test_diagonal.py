"""Smoothing a diagonal linear network is a lasso whose weights are the columns' energies: closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from torch import Tensor

from deeprelax.errors import UserError
from deeprelax.models import DiagonalLinear
from deeprelax.tasks import Diagonal

from .problems import heat_directions, largest_z, make, scored, training_rows

SIGMA = 0.1
PROBLEMS = [{}, {"noise": 0.5}, {"noise": 0.5, "column_spread": 1.0}]


def loss(a: Tensor, y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """f; u, v: (..., dimensions)."""
    return ((u**2 - v**2) @ a.T - y).square().sum(-1) / (2 * len(y))


def smoothed(a: Tensor, y: Tensor, u: Tensor, v: Tensor, sigma: float) -> Tensor:
    """E f(u + sigma z, v + sigma z')."""
    energies, n = a.square().sum(0), len(y)
    return loss(a, y, u, v) + ((2 * sigma**2 / n) * energies * (u**2 + v**2 + sigma**2)).sum()


def lasso(a: Tensor, y: Tensor, sigma: float) -> Tensor:
    """argmin |A w - y|^2/(2n) + (2 sigma^2/n) sum_j |A_j|^2 |w_j|, by scikit-learn on columns over their energies."""
    energies = a.square().sum(0)
    solver = Lasso(2 * sigma**2 / len(y), fit_intercept=False, tol=1e-12, max_iter=1_000_000)
    solver.fit((a / energies).numpy(), y.numpy())
    return torch.from_numpy(np.asarray(solver.coef_)) / energies


@pytest.mark.parametrize("options", PROBLEMS)
def test_the_loss_is_that_of_the_docstring_and_the_smoothed_loss_its_closed_form(options: dict[str, float]) -> None:
    """By 200,000 draws; 5 standard errors: one in a million fails for each problem."""
    task = make(Diagonal, 40, **options)
    a, y = training_rows(task)
    generator = torch.Generator().manual_seed(1)
    u, v = torch.randn(2, 100, generator=generator, dtype=torch.float64)
    model = DiagonalLinear(100, 1).double()
    with torch.no_grad():
        model.u.copy_(u[None]), model.v.copy_(v[None])
        assert task.loss(model, a, y[:, None]).item() == pytest.approx(loss(a, y, u, v).item(), rel=1e-12)
    draws = torch.cat(
        [
            loss(
                a, y, *(x + SIGMA * torch.randn(20_000, 100, generator=generator, dtype=torch.float64) for x in (u, v))
            )
            for _ in range(10)
        ]
    )
    expected = smoothed(a, y, u, v, SIGMA)
    assert largest_z(draws[:, None], expected) < 5
    assert largest_z(draws[:, None], loss(a, y, u, v)) > 50  # it could have failed


@pytest.mark.parametrize("options", PROBLEMS)
def test_heat_stands_still_at_the_lasso(options: dict[str, float]) -> None:
    """The mean of 4,000 directions is 0 in each of 200 coordinates to 5.5 standard errors: fails once in 130,000."""
    task = make(Diagonal, 40, **options)
    a, y = training_rows(task)
    w = lasso(a, y, SIGMA)
    assert 0 < int((w != 0).sum()) < 40
    model = DiagonalLinear(100, 1)
    with torch.no_grad():
        model.u.copy_(w.clamp_min(0).sqrt()[None])
        model.v.copy_((-w).clamp_min(0).sqrt()[None])
    assert largest_z(heat_directions(task, model, SIGMA, 4000)) < 5.5
    assert largest_z(heat_directions(task, model, 3 * SIGMA, 2000)) > 8  # it is no lasso of another sigma


@pytest.mark.parametrize("options", PROBLEMS)
def test_descent_on_the_smoothed_loss_ends_at_the_lasso(options: dict[str, float]) -> None:
    """From u = v = 1, with momentum, in units in which the columns of A are alike; sigma 0.3: both for speed."""
    a, y = training_rows(make(Diagonal, 40, **options))
    n, energies, sigma = len(y), a.square().sum(0), 0.3
    unit = (energies.mean() / energies) ** 0.25
    sides = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)

    def gradient(x: Tensor) -> Tensor:
        u, v = unit * x
        slope = a.T @ (a @ (u**2 - v**2) - y) / n
        return 2 * unit**2 * x * (sides * slope + 2 * sigma**2 / n * energies)

    x = (torch.ones(2, 100, dtype=torch.float64) / unit).requires_grad_()
    (expected,) = torch.autograd.grad(smoothed(a, y, *(unit * x), sigma), x)
    x = x.detach()
    torch.testing.assert_close(gradient(x), expected)
    momentum = torch.zeros_like(x)
    for _ in range(15_000):
        momentum = 0.99 * momentum + gradient(x)
        x = x - 0.001 * momentum
    u, v = unit * x
    torch.testing.assert_close(u**2 - v**2, lasso(a, y, sigma), rtol=0, atol=1e-4)


@pytest.mark.parametrize("options", PROBLEMS)
def test_the_error_is_that_of_the_weights(options: dict[str, float]) -> None:
    task = make(Diagonal, 40, **options)
    model = DiagonalLinear(100, 1)
    torch.nn.init.normal_(model.u, generator=torch.Generator().manual_seed(0))
    w = (model.u**2 - model.v**2).detach()[0]
    scales = torch.diagonal(task.rows["test"][0]) / 10
    expected = (scales * (w - task.truth)).square().sum() / (scales * task.truth).square().sum()
    found = scored(task, model)
    assert found["error"] == pytest.approx(expected.item(), rel=1e-5)
    assert found["loss"] == pytest.approx((scales * (w - task.truth)).square().sum().item() / 2, rel=1e-5)
    if not options.get("column_spread"):
        assert expected == (w - task.truth).square().sum() / 5
    start = scored(task, DiagonalLinear(100, 1))
    assert start["error"] == 1.0  # w = 0


def test_each_part_of_the_problem_has_a_stream_of_its_own() -> None:
    plain, noisy, scaled, other = (
        make(Diagonal, 40, **options) for options in ({}, {"noise": 0.5}, {"column_spread": 1.0}, {"problem_seed": 1})
    )
    rows = [task.rows["train"] for task in (plain, noisy, scaled, other)]
    assert torch.equal(rows[0][0], rows[1][0])
    assert torch.equal(plain.truth, noisy.truth)
    assert torch.equal(plain.truth, scaled.truth)
    assert not torch.equal(plain.truth, other.truth)
    assert 0.3 < (rows[0][1] - rows[1][1]).std() < 0.7  # of 40 Gaussians of 0.5: beyond once in 2,000 seeds
    torch.testing.assert_close((rows[2][0] / rows[0][0]).std(0), torch.zeros(100), rtol=0, atol=1e-4)
    assert len({task.fingerprint for task in (plain, noisy, scaled, other)}) == 4
    assert make(Diagonal, 40, seed=9).fingerprint == plain.fingerprint
    assert sorted(plain.truth.abs().tolist()) == [0.0] * 95 + [1.0] * 5


def test_a_batch_of_all_measurements_is_the_whole_gradient_and_parts_make_it_up() -> None:
    task = make(Diagonal, 40)
    assert sorted(task.draw(3)[0].tolist()) == list(range(40))
    whole, parts = make(Diagonal, 16), [make(Diagonal, 16, share={"part": (i, 2)}) for i in range(2)]
    for k in range(8):
        assert torch.equal(torch.cat([part.draw(k)[0] for part in parts]), whole.draw(k)[0])
    chains = [make(Diagonal, 16, share={"chain": (i, 2)}) for i in range(2)]
    assert [len(chain.draw(0)[0]) for chain in chains] == [8, 8]
    assert not torch.equal(chains[0].draw(0)[0], chains[1].draw(0)[0])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match=r"task\.nonzero=101 is more than task\.dimensions=100: lower it"):
        make(Diagonal, 40, nonzero=101)
    with pytest.raises(ValueError, match="noise must be a finite number >= 0, not -1"):
        make(Diagonal, 40, noise=-1)
    flat, task = torch.nn.Sequential(torch.nn.Linear(100, 1), torch.nn.Flatten(0)), make(Diagonal, 40)
    with pytest.raises(UserError, match=r"maps inputs \(40, 100\) to \(40,\), not to the targets' \(40, 1\)"):
        task.loss(flat, *task.rows["train"])
