"""Equations whose solution is known, to be found again from noisy values of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Solution = Callable[[Tensor, Tensor], Tensor]  # points (n, d), parameters (q,) to values (n,)


@dataclass(frozen=True)
class Known:
    """An equation sum_j c_j term_j = 0 and a family of its solutions.

    description: one line. inputs, low, high: the coordinates and the box that points are drawn from.
    terms: the dictionary, those of the equation among them.
    solution(points, parameters): a family of solutions, `parameters` the true ones; None for a grid solver's output.
    coefficients(parameters): the terms that the equation consists of and their c_j, for each member of the family.
    """

    description: str
    inputs: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    terms: str
    parameters: tuple[float, ...]
    coefficients: Callable[[Tensor], Mapping[str, Tensor | float]]
    solution: Solution | None

    @property
    def true(self) -> Tensor:
        """The true parameters, float64."""
        return torch.tensor(self.parameters, dtype=torch.float64)

    def exact(self, points: Tensor) -> Tensor | None:
        """The solution (n, 1) at points (n, d), if there is a formula."""
        return None if self.solution is None else self.solution(points, self.true.to(points))[:, None]


def _growth(points: Tensor, parameters: Tensor) -> Tensor:
    a, rate = parameters
    found: Tensor = a * (rate * points[:, 0]).exp()
    return found


def _standing(points: Tensor, parameters: Tensor) -> Tensor:
    """Two modes: of one alone u_xx = -u would hold, too."""
    (t, x), (a, b, square) = points.unbind(1), parameters
    speed = square.sqrt()
    found: Tensor = a * x.sin() * (speed * t).cos() + b * (2 * x).sin() * (2 * speed * t).cos()
    return found


def _two_plane_waves(points: Tensor, parameters: Tensor) -> Tensor:
    (x, y), (a, b, square) = points.unbind(1), parameters
    k = square.sqrt()
    found: Tensor = a * (k * (0.6 * x + 0.8 * y)).sin() + b * (k * (0.8 * x - 0.6 * y)).cos()
    return found


def _decaying(points: Tensor, parameters: Tensor) -> Tensor:
    """By Cole and Hopf u = -(2 nu/speed) phi_x/phi, phi = a + b exp(-nu t) cos x + exp(-4 nu t) sin 2x."""
    (t, x), (a, b, nu, speed) = points.unbind(1), parameters
    slow, fast = b * (-nu * t).exp(), (-4 * nu * t).exp()
    slope = -slow * x.sin() + 2 * fast * (2 * x).cos()
    found: Tensor = -2 * nu / speed * slope / (a + slow * x.cos() + fast * (2 * x).sin())
    return found


def _two_solitons(points: Tensor, parameters: Tensor) -> Tensor:
    """(6 b/a) w(b t, x), w = 2 (log F)_xx of Hirota's F, with wave numbers 1 and 3/2, which meet at t = 0."""
    (t, x), (a, b) = points.unbind(1), parameters
    k, m = 1.0, 1.5
    first, second = (k * x - k**3 * b * t).exp(), (m * x - m**3 * b * t).exp()
    both = ((k - m) / (k + m)) ** 2 * first * second
    f = 1 + first + second + both
    slope = k * first + m * second + (k + m) * both
    bend = k**2 * first + m**2 * second + (k + m) ** 2 * both
    found: Tensor = 6 * b / a * 2 * (bend / f - (slope / f).square())
    return found


def _parabola(points: Tensor, parameters: Tensor) -> Tensor:
    """x^2/(1 + 4 b t) + a/(2 b) log(1 + 4 b t), of u_t = a u_xx - b u_x^2."""
    (t, x), (a, b) = points.unbind(1), parameters
    found: Tensor = x.square() / (1 + 4 * b * t) + a / (2 * b) * (4 * b * t).log1p()
    return found


TEMPERATURE = 0.5  # of the grid's equation
SECOND = "u_tt, u_xx, u_t, u_x, u, u**2, u*u_x, u_x**2"
CATALOG: dict[str, Known] = {
    "ode": Known(
        "u_x = u, u = e^x", ("x",), (0.0,), (1.0,), "u_x, u", (1.0, 1.0),
        lambda p: {"u_x": 1.0, "u": -p[1]}, _growth,
    ),
    "wave": Known(
        "u_tt = u_xx, two standing waves", ("t", "x"), (0.0, 0.0), (2.0, math.pi), SECOND, (1.0, 0.5, 1.0),
        lambda p: {"u_tt": 1.0, "u_xx": -p[2]}, _standing,
    ),
    "burgers": Known(
        "u_t + u u_x = u_xx/4, by Cole and Hopf", ("t", "x"), (0.0, 0.0), (2.0, 2 * math.pi),
        "u_t, u_xx, u_x, u, u**2, u*u_x, u_x**2", (2.2, 1.0, 0.25, 1.0),
        lambda p: {"u_t": 1.0, "u*u_x": p[3], "u_xx": -p[2]}, _decaying,
    ),
    "helmholtz": Known(
        "u_xx + u_yy + k^2 u = 0, k = 3/2, two plane waves", ("x", "y"), (0.0, 0.0), (3.0, 3.0),
        "u_xx, u_yy, u_x, u_y, u, u**2", (1.0, 1.0, 2.25),
        lambda p: {"u_xx": 1.0, "u_yy": 1.0, "u": p[2]}, _two_plane_waves,
    ),
    "kdv": Known(
        "u_t + 6 u u_x + u_xxx = 0, two solitons", ("t", "x"), (-2.0, -6.0), (2.0, 6.0),
        "u_t, u_xxx, u_xx, u_x, u, u*u_x, u**2", (6.0, 1.0),
        lambda p: {"u_t": 1.0, "u*u_x": p[0], "u_xxx": p[1]}, _two_solitons,
    ),
    "hjb": Known(
        "u_t = u_xx - u_x^2, a parabola; 2 u obeys viscous Hamilton-Jacobi with temperature 2", ("t", "x"), (0.0, -2.0),
        (1.0, 2.0), SECOND, (1.0, 1.0), lambda p: {"u_t": 1.0, "u_xx": -p[0], "u_x**2": p[1]}, _parabola,
    ),
    "grid": Known(
        "u_t + u_x^2/2 = u_xx/4, local entropy of cos 2x + sin(x)/2 by the laboratory's grid solver", ("t", "x"),
        (0.0, -3.0), (1.0, 3.0), "u_t, u_xx, u_x, u, u**2, u*u_x, u_x**2", (),
        lambda p: {"u_t": 1.0, "u_x**2": 0.5, "u_xx": -TEMPERATURE / 2}, None,
    ),
}  # fmt: skip


def on_the_grid(count: int) -> tuple[Tensor, Tensor]:
    """Points (n, 2) and values (n,) of about so many, float64: local entropy, from the solver of `deeprelax pde`."""
    from ...pde.solvers.cole_hopf import local_entropy  # scipy

    known = CATALOG["grid"]
    times = max(3, round(math.sqrt(count / 2)))
    each = max(3, count // times)
    fine, margin = 16, 5.0  # steps of the solver's grid in one of the data's; beyond the margin nothing reaches
    step = (known.high[1] - known.low[1]) / (each - 1)
    more = math.ceil(margin / step)
    x = known.low[1] + step * torch.arange(-more * fine, (each - 1 + more) * fine + 1, dtype=torch.float64) / fine
    energy = ((2 * x).cos() + x.sin() / 2).numpy()
    t = torch.linspace(known.low[0], known.high[0], times, dtype=torch.float64)
    inside = slice(more * fine, (each - 1 + more) * fine + 1, fine)
    rows = [torch.from_numpy(local_entropy(energy, step / fine, float(time), TEMPERATURE))[inside] for time in t]
    return torch.cartesian_prod(t, x[inside]), torch.stack(rows).flatten()
