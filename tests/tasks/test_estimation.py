"""Estimation: dictionaries, the smallest combination, bounds, data, and the loss."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeprelax.errors import UserError
from deeprelax.models import MlpField
from deeprelax.tasks import Setting
from deeprelax.tasks.equations import Field
from deeprelax.tasks.equations.formulas import Formula
from deeprelax.tasks.estimation import Estimation
from deeprelax.tasks.estimation.bound import covariance, error_bound, maximum_likelihood
from deeprelax.tasks.estimation.dictionary import Dictionary, default_terms, eliminated, residual, smallest
from deeprelax.tasks.estimation.known import CATALOG
from deeprelax.tasks.estimation.measured import drawn
from tests.tasks.problems import CPU, scored

WITH_FORMULA = [name for name, known in CATALOG.items() if known.solution is not None]


def estimation(equation: str = "hjb", batch_size: int = 40, seed: int = 0, **options: Any) -> Estimation:
    options = {"points": 40, "warmup": 2, "prune_at": [3], "residual_weight": 1.0} | options
    return Estimation(Setting(CPU, seed, batch_size, dtype=torch.float64), equation=equation, **options)


def network(task: Estimation) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MlpField(**task.shape, hidden=8, layers=2).double()
    task.prepare(model)
    return model


class Exact(nn.Module):
    """The network that is the solution."""

    def __init__(self, task: Estimation) -> None:
        super().__init__()
        self.task = task
        task.prepare(self)

    def forward(self, x: Tensor) -> Tensor:
        task, box = self.task, self.task.box
        assert task.known is not None
        exact = task.known.exact(box.low + (box.high - box.low) * (x + 1) / 2)
        assert exact is not None
        return (exact - task.mean) / task.deviation


@pytest.mark.parametrize("name", WITH_FORMULA)
def test_the_solution_obeys_its_equation_and_no_other(name: str) -> None:
    task = estimation(name, points=200, noise=0.0)
    found = scored(task, Exact(task))
    assert found["residual"] < 1e-6
    assert found["coefficient_error"] < 1e-5
    assert found["misfit"] < 1e-9
    terms = task.terms(Exact(task), task.grid).detach()
    unit = terms / terms.norm(dim=0)
    assert torch.linalg.eigvalsh(unit.T @ unit)[1] > 1e-3  # no other holds


@pytest.mark.parametrize("name", WITH_FORMULA)
def test_every_member_of_the_family_obeys_the_equation_of_its_parameters(name: str) -> None:
    known = CATALOG[name]
    parameters = 1.1 * known.true
    points = torch.rand(30, len(known.inputs), dtype=torch.float64)
    solution = known.solution
    assert solution is not None
    field = Field(lambda x: solution(x, parameters)[:, None], points)
    parts = [Formula(term, known.inputs)(field) * value for term, value in known.coefficients(parameters).items()]
    whole = torch.stack(parts).detach()
    assert float(whole.sum(0).abs().max()) < 1e-9 * float(whole.abs().max())


def test_the_grids_values_obey_viscous_hamilton_jacobi() -> None:
    """By differences of the second order on a finer grid than the task's: the error is that of the differences."""
    data = drawn("grid", 40_000, 0.0, 0)
    times = round(math.sqrt(20_000))
    u = data.values.reshape(times, -1)
    dt, dx = data.points[u.shape[1], 0].item(), (data.points[1, 1] - data.points[0, 1]).item()
    u_t = (u[2:, 1:-1] - u[:-2, 1:-1]) / (2 * dt)
    u_x = (u[1:-1, 2:] - u[1:-1, :-2]) / (2 * dx)
    u_xx = (u[1:-1, 2:] - 2 * u[1:-1, 1:-1] + u[1:-1, :-2]) / dx**2
    left = (u_t + u_x.square() / 2 - u_xx / 4)[10:]
    assert float(left.norm() / u_t[10:].norm()) < 2e-3


def test_the_smallest_combination_is_that_of_the_null_space_whatever_the_units() -> None:
    generator = torch.Generator().manual_seed(0)
    terms = torch.randn(100, 4, generator=generator, dtype=torch.float64)
    terms[:, 3] = 2 * terms[:, 0] - terms[:, 1]
    expected = torch.tensor([2.0, -1.0, 0.0, -1.0], dtype=torch.float64) / math.sqrt(6)
    c = smallest(terms.T @ terms, torch.ones(4, dtype=torch.float64))
    assert abs(float(c @ expected)) == pytest.approx(1, abs=1e-12)
    units = torch.tensor([1e6, 1.0, 1e-6, 10.0], dtype=torch.float64)
    scaled = terms * units
    other = smallest(scaled.T @ scaled, torch.ones(4, dtype=torch.float64)) * units
    assert abs(float(other @ expected) / float(other.norm())) == pytest.approx(1, abs=1e-9)
    assert float(residual(scaled, other / units)) < 1e-12
    masked = smallest(terms.T @ terms, torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64))
    assert masked[3] == 0
    assert float(residual(terms, masked)) > 0.1


def test_c_counts_as_constant_in_the_gradient_of_the_residual() -> None:
    """The derivative of a minimum: that of the eigenvalue itself, through torch.linalg.eigvalsh."""
    generator = torch.Generator().manual_seed(1)
    terms = torch.randn(50, 3, generator=generator, dtype=torch.float64).requires_grad_()
    ours = residual(terms, smallest(terms.T @ terms / 50, torch.ones(3, dtype=torch.float64)))
    unit = terms / terms.square().mean(0).sqrt()
    eigenvalue = torch.linalg.eigvalsh(unit.T @ unit / 50)[0]
    assert ours.item() == pytest.approx(eigenvalue.item(), rel=1e-12)
    found = [torch.autograd.grad(each, terms, retain_graph=True)[0] for each in (ours, eigenvalue)]
    torch.testing.assert_close(*found, rtol=1e-8, atol=1e-12)


def test_terms_that_are_not_needed_go_one_by_one_and_two_stay() -> None:
    generator = torch.Generator().manual_seed(2)
    terms = torch.randn(500, 5, generator=generator, dtype=torch.float64)
    terms[:, 4] = terms[:, 0] + terms[:, 1] + 0.01 * terms[:, 2]
    gram, all_of_them = terms.T @ terms / 500, torch.ones(5, dtype=torch.float64)
    assert eliminated(gram, all_of_them, 0.1).tolist() == [1, 1, 0, 0, 1]
    assert eliminated(gram, all_of_them, 1e-4).tolist() == [1, 1, 1, 0, 1]
    assert eliminated(gram, all_of_them, 10.0).sum() == 2


def test_maximum_likelihood_attains_the_bound_of_cramer_and_rao() -> None:
    """mse over the bound, 10,000 replications: its standard error is sqrt(2/10000) = 0.014, so 0.05 is 3.5 of them.

    With new random numbers this fails with a chance of 4e-4; both estimates are of the same replications.
    """
    known, generator = CATALOG["ode"], torch.Generator().manual_seed(0)
    assert known.solution is not None
    points = torch.rand(1000, 1, generator=generator, dtype=torch.float64)
    exact = known.solution(points, known.true)
    sigma = 0.1 * float(exact.std())
    errors = []
    for _ in range(10):
        noise = sigma * torch.randn(1000, 1000, generator=generator, dtype=torch.float64)
        errors.append(maximum_likelihood(known.solution, points, exact + noise, known.true) - known.true)
    found = torch.cat(errors)
    bound = covariance(known.solution, points, known.true, sigma)
    for i in range(2):
        assert 0.95 < float(found[:, i].square().mean() / bound[i, i]) < 1.05


def test_the_bound_by_hand() -> None:
    """Of y = a e^(cx): F = J'J/sigma^2, J = [e^(cx), a x e^(cx)]; c/sqrt(1 + c^2) turns by dc/(1 + c^2)."""
    known = CATALOG["ode"]
    assert known.solution is not None
    x = torch.linspace(0, 1, 7, dtype=torch.float64)[:, None]
    j = torch.cat([x.exp(), x * x.exp()], 1)
    by_hand = torch.linalg.inv(j.T @ j / 0.3**2)
    torch.testing.assert_close(covariance(known.solution, x, known.true, 0.3), by_hand, rtol=1e-10, atol=0)
    task = estimation("ode")
    bound = error_bound(known.solution, x, known.true, 0.3, task._direction)
    assert bound == pytest.approx(math.sqrt(float(by_hand[1, 1])) / 2, rel=1e-9)


def test_the_loss_is_the_papers_product() -> None:
    task = estimation()
    model = network(task)
    for k, weight in ((0, 0.0), (2, 1.0)):  # two passes of warm-up, of one evaluation each
        points, values, places, drawn_weight = task.make(*task.draw(k))
        assert float(drawn_weight) == weight
        misfit = float(((task.u(model, points).detach() - values) / task.deviation).square().mean())
        terms = task.terms(model, places).detach()
        left = float(residual(terms, smallest(terms.T @ terms, torch.ones(8, dtype=torch.float64))))
        expected = math.sqrt(misfit + 1e-4) * (1 + weight * left)
        assert task.loss(model, points, values, places, drawn_weight).item() == pytest.approx(expected, rel=1e-9)


def test_batches_are_functions_of_seed_and_number() -> None:
    first = [t.clone() for t in estimation(batch_size=10).draw(5)]
    again, other = estimation(batch_size=10), estimation(batch_size=10, seed=1)
    again.draw(9)
    assert all(torch.equal(a, b) for a, b in zip(first, again.draw(5), strict=True))
    assert not torch.equal(first[1], other.draw(5)[1])


def test_terms_are_dropped_once_at_their_pass_and_stay_dropped() -> None:
    task = estimation(tolerance=1.0)
    model = network(task)
    kept, prunings = (model.get_buffer(name) for name in task.buffers)
    task.advance(model, 2)
    assert kept.sum() == 8
    task.advance(model, 3)
    assert (kept.sum(), prunings.item()) == (2, 1)
    kept.fill_(1)  # as a run that resumed from after that
    task.advance(model, 4)
    assert kept.sum() == 8


def test_an_equation_is_written_for_the_highest_derivative_by_the_first_coordinate() -> None:
    terms = Dictionary("u_xx, u_t, u*u_x, u_tt", ("t", "x"))
    c = torch.tensor([0.5, -1.0, 0.25, 0.0], dtype=torch.float64)
    assert terms.shown(c) == ("u_t = 0.5*u_xx + 0.25*u*u_x", "u_{t} = 0.5 u_{xx} + 0.25 u u_{x}")
    c[3] = 1.0
    assert terms.shown(c)[0] == "u_tt = -0.5*u_xx + u_t - 0.25*u*u_x"
    assert terms.told(c)["coefficients"] == {"u_tt": 1.0, "u_xx": 0.5, "u_t": -1.0, "u*u_x": 0.25}
    truth = Dictionary("u_x*u_x, u_t", ("t", "x")).vector({"u_t": 3.0, "u_x**2": 4.0}, c)
    assert truth.tolist() == pytest.approx([0.8, 0.6])
    assert default_terms(("t", "x")) == "u_t, u_x, u_xx, u, u**2, u*u_x, u_x**2"


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ("u_t", "has one term, and an equation needs two"),
        ("u_t, u_q", "u_q in 'u_q' is neither a coordinate"),
        ("u_t, u_x*u, u*u_x", "u\\*u_x is u_x\\*u again: leave one out"),
        ("u_t, x", "there is no u in 'x'"),
        ("u_t, ", "'' is no formula"),
        ("u_t, u_xx", "lacks u_x\\*\\*2, which the equation has: add it"),
    ],
)
def test_a_dictionary_that_cannot_be_is_refused(terms: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        estimation(terms=terms)
