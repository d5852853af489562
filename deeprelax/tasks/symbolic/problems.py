"""Differential equations with solutions that are short formulas, as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..hyperparameters import SYMBOLIC


@dataclass(frozen=True, slots=True)
class Problem:
    """A differential equation: residual = 0 in the domain, with conditions; `Formula` and `Condition` say how to write.

    domain: coordinate to its ends, in order. solution: the exact one, or None where it is not known.
    """

    residual: str
    conditions: tuple[str, ...]
    domain: dict[str, tuple[Any, Any]]
    solution: str | None = None


PROBLEMS = {
    "heat": Problem(
        "u_t - u_xx",
        ("u(0, x) = sin(x)", "u(t, 0) = 0", "u(t, pi) = 0"),
        {"t": (0, 4), "x": (0, "pi")},
        "exp(-t)*sin(x)",
    ),
    "wave": Problem(
        "u_tt - u_xx",
        ("u(0, x) = sin(x)", "u_t(0, x) = 0", "u(t, 0) = 0", "u(t, pi) = 0"),
        {"t": (0, "pi"), "x": (0, "pi")},
        "sin(x)*cos(t)",
    ),
    "poisson": Problem(
        "u_xx + u_yy + 2*sin(x)*sin(y)",
        ("u(0, y) = 0", "u(pi, y) = 0", "u(x, 0) = 0", "u(x, pi) = 0"),
        {"x": (0, "pi"), "y": (0, "pi")},
        "sin(x)*sin(y)",
    ),
    "growth": Problem("u_t - u", ("u(0) = 1",), {"t": (0, 1)}, "exp(t)"),
    "logistic": Problem("u_t - u*(1 - u)", ("u(0) = 1/2",), {"t": (0, 4)}, "1/2 + tanh(t/2)/2"),
}
assert set(PROBLEMS) | {"own"} == set(SYMBOLIC)
