"""The smoothed loss of a factored matrix, and its error: closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deeprelax.errors import UserError
from deeprelax.models import Factor
from deeprelax.tasks import MatrixSensing

from .problems import heat_directions, largest_z, make, scored, training_rows

SIGMA = 0.2
SMALL = {"measurements": 30, "size": 6, "noise": 0.1}


def loss(m: Tensor, y: Tensor, u: Tensor) -> Tensor:
    """f; u: (..., size, k)."""
    return (torch.einsum("nij,...ij->...n", m, u @ u.mT) - y).square().sum(-1) / (2 * len(y))


def smoothed(m: Tensor, y: Tensor, u: Tensor, sigma: float) -> Tensor:
    """E f(U + sigma Z), as the docstring of the task has it."""
    n, k = len(y), u.shape[1]
    traces, s = torch.einsum("nii->n", m), (m @ m).sum(0)
    mean = torch.einsum("nij,ij->n", m, u @ u.T) + k * sigma**2 * traces
    variance = 4 * sigma**2 * torch.trace(u.T @ s @ u) + 2 * k * sigma**4 * torch.trace(s)
    return (mean - y).square().sum() / (2 * n) + variance / (2 * n)


def test_the_smoothed_loss_is_its_closed_form() -> None:
    """By 200,000 draws; 5 standard errors: one in a million fails."""
    task = make(MatrixSensing, 30, **SMALL)
    m, y = training_rows(task)
    generator = torch.Generator().manual_seed(1)
    u = torch.randn(6, 3, generator=generator, dtype=torch.float64) / 2
    model = Factor(6, 3).double()
    with torch.no_grad():
        model.u.copy_(u)
        assert task.loss(model, m, y[:, None]).item() == pytest.approx(loss(m, y, u).item(), rel=1e-12)
    draws = loss(m, y, u + SIGMA * torch.randn(200_000, 6, 3, generator=generator, dtype=torch.float64))
    assert largest_z(draws[:, None], smoothed(m, y, u, SIGMA)) < 5
    assert largest_z(draws[:, None], loss(m, y, u)) > 50  # it could have failed


def test_the_mean_of_heats_directions_is_the_gradient_of_the_closed_form() -> None:
    """4,000 directions, 18 coordinates, 5 standard errors: fails once in 100,000."""
    task = make(MatrixSensing, 30, **SMALL)
    m, y = training_rows(task)
    torch.manual_seed(3)
    model = Factor(6, 3)
    x = model.u.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(smoothed(m, y, x, SIGMA), x)
    (plain,) = torch.autograd.grad(loss(m, y, x), x)
    found = heat_directions(task, model, SIGMA, 4000)
    assert largest_z(found, expected.flatten()) < 5
    assert largest_z(found, plain.flatten()) > 10


def test_the_error_is_relative_in_the_frobenius_norm() -> None:
    task = make(MatrixSensing, 100)
    assert torch.linalg.matrix_rank(task.truth) == 2
    assert torch.linalg.matrix_norm(task.truth).item() == pytest.approx(1.0)
    torch.manual_seed(0)
    model = Factor(20)
    expected = torch.linalg.matrix_norm(model.u @ model.u.T - task.truth).item()
    found = scored(task, model)
    assert found["error"] == pytest.approx(expected, rel=1e-5)
    assert found["loss"] == pytest.approx(expected**2 / 2, rel=1e-5)


def test_measurements_are_isotropic() -> None:
    """<M, X> has the variance |X|^2 = 1: the mean square of 20,000 is 1 to 5 of its standard errors of 0.01."""
    task = make(MatrixSensing, 8, measurements=20_000, size=8)
    m, y = task.rows["train"]
    assert torch.equal(m, m.mT)
    assert y.square().mean().item() == pytest.approx(1.0, abs=0.05)


def test_a_rank_above_the_size_is_refused() -> None:
    with pytest.raises(UserError, match=r"task\.rank=21 is more than task\.size=20: lower it"):
        make(MatrixSensing, 10, rank=21)
