"""Solve dx/dt = f(t, x) with steps of one size: explicit Runge-Kutta methods, differentiated through their arithmetic.

| name     | order | values of f a step |
|----------|-------|--------------------|
| euler    | 1     | 1                  |
| midpoint | 2     | 2                  |
| rk4      | 4     | 4                  |

Backward through the steps is the adjoint equation solved by a method of the same order (Sanz-Serna, SIAM Review 58,
2016), exact for the discrete map: with p = dL/dx and dx the tangent, p.dx is the same after every step, to rounding.
A fixed number of steps makes every gradient cost the same, which an adaptive method's do not.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Field = Callable[[float, Tensor], Tensor]  # f(t, x), of the shape of x
Step = Callable[[Field, float, Tensor, float], Tensor]  # x(t + h) from f, t, x(t), h


def euler(f: Field, t: float, x: Tensor, h: float) -> Tensor:
    """x + h f(t, x)."""
    return x + h * f(t, x)


def midpoint(f: Field, t: float, x: Tensor, h: float) -> Tensor:
    """x + h f(t + h/2, x + h/2 f(t, x))."""
    return x + h * f(t + h / 2, x + h / 2 * f(t, x))


def rk4(f: Field, t: float, x: Tensor, h: float) -> Tensor:
    """The classical method of Runge and Kutta."""
    k1 = f(t, x)
    k2 = f(t + h / 2, x + h / 2 * k1)
    k3 = f(t + h / 2, x + h / 2 * k2)
    k4 = f(t + h, x + h * k3)
    return x + h / 6 * (k1 + 2 * (k2 + k3) + k4)


SOLVERS: dict[str, Step] = {"euler": euler, "midpoint": midpoint, "rk4": rk4}


def integrate(f: Field, x: Tensor, steps: int, solver: str = "rk4", until: float = 1.0) -> Tensor:
    """x(until) of dx/dt = f(t, x), x(0) = x, in `steps` equal steps of the solver."""
    h, step = until / steps, SOLVERS[solver]
    for k in range(steps):
        x = step(f, k * h, x, h)
    return x
