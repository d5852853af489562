"""How well coefficients can be estimated at all: Cramer and Rao's bound, and maximum likelihood, which attains it.

Data y_i = u(x_i; p) + sigma N(0, 1) of a family of solutions with parameters p, the coefficients among them, have the
Fisher information F = J' J / sigma^2, J = du/dp (points, parameters). No unbiased estimate of p has a covariance below
F^-1, whether or not it knows the family. Through c(p) = g(p)/|g(p)|, with G = dc/dp, the bound on E |c - c_true|^2 is
tr G F^-1 G'. Source: Rao, Bull. Calcutta Math. Soc. 37 (1945) 81; the formulas for these families are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .known import Known
from .measured import Measured

Model = Callable[[Tensor, Tensor], Tensor]  # points (n, d), parameters (q,) to values (n,)


def covariance(solution: Model, points: Tensor, parameters: Tensor, sigma: float) -> Tensor:
    """F^-1, (q, q): the least covariance of unbiased estimates of all parameters together."""
    jacobian = _jacobian(solution, points, parameters)
    found: Tensor = sigma**2 * torch.linalg.inv(jacobian.T @ jacobian)
    return found


def error_bound(
    solution: Model, points: Tensor, parameters: Tensor, sigma: float, direction: Callable[[Tensor], Tensor]
) -> float:
    """Root of the bound on E |c - c_true|^2, c = direction(parameters) a unit vector."""
    by_parameters = torch.func.jacrev(direction)(parameters)
    spread = by_parameters @ covariance(solution, points, parameters, sigma) @ by_parameters.T
    return math.sqrt(float(spread.diagonal().sum()))


def maximum_likelihood(solution: Model, points: Tensor, values: Tensor, start: Tensor, steps: int = 20) -> Tensor:
    """Parameters (replications, q) of least squares, by Gauss and Newton's method from `start` (q,).

    Args:
        solution: the family.
        points: (n, d).
        values: (replications, n), noisy.
    """
    found = start.expand(len(values), -1).clone()
    fitted = torch.vmap(lambda p: solution(points, p))
    slopes = torch.vmap(lambda p: _jacobian(solution, points, p))
    for _ in range(steps):
        step = torch.linalg.lstsq(slopes(found), (values - fitted(found))[:, :, None]).solution[:, :, 0]
        found = found + step
        if float(step.abs().max()) < 1e-10:
            break
    return found


def floors(known: Known, data: Measured, direction: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """What an estimate of c can be held against: the bound on its root mean square error, and maximum likelihood's.

    Both as sqrt(1 - <c, c_true>^2), in float64 on the CPU. Empty for data without noise, or not of a known family.
    """
    if known.solution is None or not data.sigma:
        return {}
    true = known.true
    (likely,) = maximum_likelihood(known.solution, data.points, data.values[None], true)
    cosine = float(direction(likely) @ direction(true))
    return {
        "cramer_rao": error_bound(known.solution, data.points, true, data.sigma, direction),
        "maximum_likelihood": math.sqrt(max(0.0, 1 - cosine**2)),
    }


def _jacobian(solution: Model, points: Tensor, parameters: Tensor) -> Tensor:
    """(n, q), forward: the parameters are few."""
    found: Tensor = torch.func.jacfwd(lambda p: solution(points, p))(parameters)
    return found
