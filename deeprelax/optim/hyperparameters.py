"""What each hyper-parameter may be, and what the ones that change with time are at a given step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any


def _whole(low: int) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= low


LARGEST = 3.4e38  # what a 32-bit float can hold
_UP_TO = f"and at most {LARGEST:g}"
# keyword: (is the value allowed, what is allowed)
RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "lr": (lambda v: 0 <= v <= LARGEST, f"a number >= 0 {_UP_TO}"),
    "gamma": (lambda v: v > 0, "a number > 0 (inf switches the spring off)"),
    "inner_steps": (_whole(1), "an integer >= 1"),
    "inner_lr": (lambda v: 0 < v <= LARGEST, f"a number > 0 {_UP_TO}"),
    "temperature": (lambda v: 0 <= v <= LARGEST, f"a number >= 0 {_UP_TO}"),
    "averaging": (lambda v: 0 <= v < 1, "a number in [0, 1)"),
    "momentum": (lambda v: 0 <= v < 1, "a number in [0, 1)"),
    "inner_momentum": (lambda v: 0 <= v < 1, "a number in [0, 1)"),
    "weight_decay": (lambda v: 0 <= v <= LARGEST, f"a number >= 0 {_UP_TO}"),
    "scoping": (lambda v: 0 <= v < math.inf, "a finite number >= 0"),
    "sigma": (lambda v: 0 <= v <= LARGEST, f"a number >= 0 {_UP_TO}"),
    "samples": (_whole(1), "an integer >= 1"),
    "seed": (_whole(0), "an integer >= 0"),
    "solver": (lambda v: v in ("fixed_point", "proximal"), "fixed_point or proximal"),
    "equation": (lambda v: v in ("viscous_hj", "hj", "heat"), "viscous_hj, hj or heat"),
}


def given(scope: Mapping[str, Any]) -> dict[str, Any]:
    """The hyper-parameters that a constructor got: its locals(), asked for before it has any other."""
    return {name: value for name, value in scope.items() if name not in ("self", "params", "__class__")}


def check_ranges(values: Mapping[str, Any]) -> None:
    """Raise ValueError, naming the keyword, for the first value outside its range. Unknown keywords pass."""
    for name, value in values.items():
        if name not in RANGES:
            continue
        allowed, description = RANGES[name]
        try:
            ok = bool(allowed(value))
        except TypeError:
            ok = False
        if not ok:
            raise ValueError(f"{name} must be {description}, not {value!r}")


def scoped_gamma(group: Mapping[str, Any]) -> float:
    """gamma_k = gamma / (1 + scoping)^k, k the outer steps done: the smoothing shrinks as training goes on."""
    return float(group["gamma"]) * (1.0 + float(group["scoping"])) ** -int(group["outer_steps"])


def stiffness(group: Mapping[str, Any]) -> float:
    """1/gamma_k of the spring; inf once scoping has brought gamma_k to 0."""
    gamma = scoped_gamma(group)
    return 1.0 / gamma if gamma > 1e-300 else math.inf
