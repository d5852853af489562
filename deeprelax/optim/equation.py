"""A relaxation chosen by its partial differential equation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from .entropy_sgd import EntropySGD
from .hamilton_jacobi import HamiltonJacobi
from .heat import Heat
from .hyperparameters import check_ranges, given, resolved
from .relaxation import Relaxation


def pde_relaxed(
    params: Iterable[Any],
    equation: str = "viscous_hj",
    gamma: float = 0.1,
    temperature: float = 1e-6,
    inner_steps: int = 5,
    lr: float | None = None,
    momentum: float | None = None,
    nesterov: bool = True,
    weight_decay: float = 0.0,
    seed: int = 0,
    outer: str = "momentum",
    betas: Sequence[float] = (0.9, 0.999),
    eps: float = 1e-8,
    decoupled_weight_decay: float = 0.0,
    closure_calls: str = "all",
) -> Relaxation:
    """x <- x - lr grad u(x, gamma), u the solution at time gamma of the equation that starts from u(x, 0) = f(x).

        viscous_hj   u_t = -1/2 |grad u|^2 + temperature/2 lap u    EntropySGD
        hj           u_t = -1/2 |grad u|^2                          HamiltonJacobi, fixed point
        heat         u_t = temperature/2 lap u                      Heat, sigma^2 = gamma temperature

    lr, gamma and temperature mean the same for all three, in a parameter group too, so that equations can be compared
    with all else equal. The viscous chain is set up for exactness rather than speed: no inner momentum (which would
    spoil the temperature), no averaging (which would lengthen its memory of x), and inner_lr = gamma/2, which halves
    the distance to equilibrium at each inner step along flat directions; it is stable for curvatures under 3/gamma. Its
    d is gamma grad u, so a log shows the rate on that, lr/gamma; with outer="adamw", whose steps do not depend on the
    scale of d, lr itself.

    Source: arXiv 1704.04932, sections 2 to 4.

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        equation: "viscous_hj", "hj" or "heat".
        gamma: time of the equation, finite.
        temperature: 1/beta, the viscosity; hj has none and leaves it unused.
        inner_steps: closure calls of one step.
        lr: rate on grad u, by default 0.1, SGD's; 1e-3 for outer="adamw".
        momentum: of the outer update, by default 0.9; 0 for outer="adamw".
        nesterov: Nesterov's look-ahead; without effect at momentum 0.
        weight_decay: coefficient c of c/2 |y|^2 in the loss.
        seed: of the noise (viscous_hj and heat).
        outer: the outer rule, "momentum" (torch.optim.SGD's) or "adamw" (torch.optim.AdamW's).
        betas, eps: of outer="adamw".
        decoupled_weight_decay: c of (1 - rate c) times the weights at each step. Excludes weight_decay.
        closure_calls: "all", or "once": a step with a closure takes one gradient of the outer step, as a call without
            one does. For closures that repeat one batch, as Lightning's automatic optimization and skorch give.
    """
    values = resolved("pde_relaxed", given(locals()))
    check_ranges(values, "pde_relaxed")
    return {"viscous_hj": _Viscous, "hj": _Inviscid, "heat": _Heat}[equation](params, values)


class _Viscous(EntropySGD):
    choice = "pde_relaxed"
    same_each_step = True

    def __init__(self, params: Iterable[Any], values: dict[str, Any]) -> None:
        Relaxation.__init__(self, params, values)

    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        chain = {"inner": "momentum", "inner_state": "reset", "inner_momentum": 0.0, "averaging": 0.0}
        found = {**group, **chain, "inner_lr": group["gamma"] / 2}
        if group["outer"] == "momentum":  # d is gamma grad u; weight decay stays that of lr
            found["lr"] = group["lr"] / group["gamma"]
            found["decoupled_weight_decay"] = group["decoupled_weight_decay"] * group["gamma"]
        return found


class _Inviscid(HamiltonJacobi):
    choice = "pde_relaxed"
    same_each_step = True

    def __init__(self, params: Iterable[Any], values: dict[str, Any]) -> None:
        Relaxation.__init__(self, params, {**values, "solver": "fixed_point"})

    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        return {**group, "averaging": 0.75}


class _Heat(Heat):
    choice = "pde_relaxed"
    same_each_step = True
    evaluations_key = "inner_steps"

    def __init__(self, params: Iterable[Any], values: dict[str, Any]) -> None:
        Relaxation.__init__(self, params, values)

    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        rest = {key: value for key, value in group.items() if key not in ("gamma", "temperature")}
        sigma = math.sqrt(group["gamma"] * group["temperature"])
        return {**rest, "sigma": sigma, "filter_normalized": False}
