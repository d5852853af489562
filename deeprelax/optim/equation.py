"""A relaxation chosen by its partial differential equation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from .entropy_sgd import EntropySGD
from .hamilton_jacobi import HamiltonJacobi
from .heat import Heat
from .hyperparameters import check_ranges, given
from .relaxation import Relaxation


def pde_relaxed(
    params: Iterable[Any],
    equation: str = "viscous_hj",
    gamma: float = 0.1,
    temperature: float = 1e-6,
    inner_steps: int = 5,
    lr: float = 0.1,
    momentum: float = 0.9,
    nesterov: bool = True,
    weight_decay: float = 0.0,
    seed: int = 0,
) -> Relaxation:
    """x <- x - lr grad u(x, gamma), u the solution at time gamma of the equation that starts from u(x, 0) = f(x).

        viscous_hj   u_t = -1/2 |grad u|^2 + temperature/2 lap u    EntropySGD
        hj           u_t = -1/2 |grad u|^2                          HamiltonJacobi, fixed point
        heat         u_t = temperature/2 lap u                      Heat, sigma^2 = gamma temperature

    lr, gamma and temperature mean the same for all three, so that equations can be compared with all else equal. The
    viscous chain is set up for exactness rather than speed: no inner momentum (which would spoil the temperature), no
    averaging (which would lengthen its memory of x), and inner_lr = gamma/2, which halves the distance to equilibrium
    at each inner step along flat directions; it is stable for curvatures under 3/gamma. Its EntropySGD shows the rate
    on d = gamma grad u, which is lr/gamma; a rate, time or temperature that a parameter group gives itself is taken as
    that optimizer's own. Heat knows neither gamma nor temperature: a group gives it sigma.

    Source: arXiv 1704.04932, sections 2 to 4.

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        equation: "viscous_hj", "hj" or "heat".
        gamma: time of the equation, finite.
        temperature: 1/beta, the viscosity; hj has none and leaves it unused.
        inner_steps: closure calls of one step.
        lr: rate on grad u, of SGD's size.
        momentum: of the outer update.
        nesterov: Nesterov's look-ahead; without effect at momentum 0.
        weight_decay: coefficient c of c/2 |y|^2 in the loss.
        seed: of the noise (viscous_hj and heat).
    """
    check_ranges(given(locals()), "pde_relaxed")
    outer: dict[str, Any] = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    if equation == "heat":
        sigma = math.sqrt(gamma * temperature)
        return Heat(params, lr, sigma, inner_steps, filter_normalized=False, seed=seed, **outer)
    if equation == "hj":
        return HamiltonJacobi(params, lr, gamma, inner_steps, "fixed_point", **outer)
    return EntropySGD(
        params,
        lr / gamma,
        gamma,
        inner_steps,
        gamma / 2,
        temperature,
        averaging=0.0,
        inner_momentum=0.0,
        seed=seed,
        **outer,
    )
