"""What each hyper-parameter may be, and what the ones that change with time are at a given step.

Free of torch, for the command line's schema is built from these rows. Values and what they mean stand in the
constructors (for a loop of one's own) and in configs/optimizer/ (for the command line).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

Row = tuple[type[Any], Callable[[Any], bool], str]  # its type, is a value allowed, what is: "it must be ..."


def whole(low: int, high: float = math.inf) -> Callable[[Any], bool]:
    """Is it an integer in [low, high]?"""
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high


LARGEST = 3.4e38  # what a 32-bit float can hold
UP_TO = f"and at most {LARGEST:g}"
_SWITCH: Row = (bool, lambda v: v in (False, True), "true or false")
_RULE: Row = (str, lambda v: v in ("momentum", "adamw"), "momentum or adamw")
_BETAS: Row = (list[float], lambda v: len(v) == 2 and all(0 <= b < 1 for b in v), "two numbers in [0, 1)")
_RADIUS: Row = (float, lambda v: 0 <= v <= LARGEST, f"a number >= 0 {UP_TO}")
_EPS: Row = (float, lambda v: 0 <= v <= LARGEST, f"a number >= 0 {UP_TO}")
# "keyword", or "choice.keyword" where one choice of optimizer allows less than the others
RANGES: dict[str, Row] = {
    "lr": (float, lambda v: 0 <= v <= LARGEST, f"a number >= 0 {UP_TO}"),
    "gamma": (float, lambda v: v > 0, "a number > 0 (inf switches the spring off)"),
    "pde_relaxed.gamma": (float, lambda v: 0 < v < math.inf, "a finite number > 0"),
    "inner_steps": (int, whole(1), "an integer >= 1"),
    "inner_lr": (float, lambda v: 0 < v <= LARGEST, f"a number > 0 {UP_TO}"),
    "temperature": (float, lambda v: 0 <= v <= LARGEST, f"a number >= 0 {UP_TO}"),
    "averaging": (float, lambda v: 0 <= v < 1, "a number in [0, 1)"),
    "momentum": (float, lambda v: 0 <= v < 1, "a number in [0, 1)"),
    "sgld.momentum": (float, lambda v: v == 0, "0: with momentum the noise samples another law"),
    "nesterov": _SWITCH,
    "inner_momentum": (float, lambda v: 0 <= v < 1, "a number in [0, 1)"),
    "weight_decay": (float, lambda v: 0 <= v <= LARGEST, f"a number >= 0 {UP_TO}"),
    "scoping": (float, lambda v: 0 <= v < math.inf, "a finite number >= 0"),
    "sigma": (float, lambda v: 0 <= v <= LARGEST, f"a number >= 0 {UP_TO}"),
    "strength": (float, lambda v: 0 <= v <= LARGEST, f"a number >= 0 {UP_TO}"),
    "bound": (float, lambda v: -LARGEST <= v <= LARGEST, "a finite number"),
    "samples": (int, whole(1), "an integer >= 1"),
    "filter_normalized": _SWITCH,
    "seed": (int, whole(0), "an integer >= 0"),
    "outer": _RULE,
    "betas": _BETAS,
    "eps": _EPS,
    "decoupled_weight_decay": (float, lambda v: 0 <= v <= LARGEST, f"a number >= 0 {UP_TO}"),
    "inner": _RULE,
    "inner_betas": _BETAS,
    "inner_eps": _EPS,
    "inner_state": (str, lambda v: v in ("reset", "keep"), "reset or keep"),
    "closure_calls": (str, lambda v: v in ("all", "once"), "all or once"),
    "replicas": (int, whole(1, 1000), "an integer from 1 to 1000"),
    "rho": (float, lambda v: v > 0, "a number > 0 (inf leaves the replicas alone)"),
    "sam.rho": _RADIUS,
    "asam.rho": _RADIUS,
    "msam.rho": _RADIUS,
    "gamma_min": (float, lambda v: 0 <= v <= LARGEST, f"a number >= 0 {UP_TO}"),
    "rho_min": (float, lambda v: 0 <= v <= LARGEST, f"a number >= 0 {UP_TO}"),
    "mixing": (float, lambda v: 0 <= v <= 1, "a number in [0, 1]"),
    "moving_rate": (float, lambda v: 0 <= v <= 1, "a number in [0, 1]"),
    "coupling": (float, lambda v: 0 <= v <= LARGEST, f"a number >= 0 {UP_TO}"),
    "solver": (str, lambda v: v in ("fixed_point", "proximal"), "fixed_point or proximal"),
    "equation": (str, lambda v: v in ("viscous_hj", "hj", "heat"), "viscous_hj, hj or heat"),
    "max_iter": (int, whole(1), "an integer >= 1"),
    "max_eval": (int, whole(1), "an integer >= 1"),
    "tolerance_grad": (float, lambda v: 0 <= v <= LARGEST, f"a number >= 0 {UP_TO}"),
    # at 0 the line search would divide by the length of a bracket that rounding has closed
    "tolerance_change": (float, lambda v: 0 < v <= LARGEST, f"a number > 0 {UP_TO}"),
    "history_size": (int, whole(1, 10_000), "an integer from 1 to 10000"),
}
# What None (in YAML: null) stands for with the rules of a choice: `outer`, or `inner` for what the chain steps with
DEFAULTS: dict[str, dict[str, Any]] = {
    "entropy_sgd": {"lr": 1.0, "momentum": 0.0, "inner_lr": 0.1, "temperature": 1e-8},
    "hj": {"lr": 0.1, "momentum": 0.9, "gamma": 0.1, "inner_steps": 5, "inner_lr": 0.1},
    "hj_proximal": {"lr": 1.0, "momentum": 0.0, "gamma": 1e4, "inner_steps": 20, "inner_lr": 0.1},
    "heat": {"lr": 0.1, "momentum": 0.9},
    "pde_relaxed": {"lr": 0.1, "momentum": 0.9},
    "lookahead": {"inner_lr": 0.1},
    "snoo": {"inner_lr": 0.1},
    "diloco": {"inner_lr": 0.1},
    "m_rwp": {"lr": 0.1, "momentum": 0.9},
    "sam": {"lr": 0.1, "momentum": 0.9},
    "asam": {"lr": 0.1, "momentum": 0.9},
    "schedule_free": {"lr": 1.0, "momentum": 0.9},
    "schedule_free, adamw": {"lr": 2.5e-3},  # with rules of AdamW, where not as in OF_ADAMW
}
OF_ADAMW: dict[str, Any] = {"lr": 1e-3, "momentum": 0.0, "inner_lr": 1e-3, "temperature": 0.0, "inner_state": "keep"}
CHOSEN_ONCE = {
    "outer",
    "inner",
    "inner_state",
    "solver",
    "equation",
    "closure_calls",
    "replicas",
}  # of an optimizer, not of a parameter group
WITHOUT_CHAIN = ("sgd", "adamw", "sgld", "lbfgs")  # whose only gradient is at x: ranks have nothing of their own to do
OF_GROUPS = ("lr", "inner_lr", "weight_decay", "decoupled_weight_decay")  # what `optimizer.groups` may set
OF_THE_CHAIN = ("inner_lr", "temperature", "inner_state")


def resolved(choice: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with what None stands for in its place. Values that no rule knows stay None."""
    found = {"inner_state": "reset", **DEFAULTS.get(choice, {})}
    of_adamw = {**OF_ADAMW, **DEFAULTS.get(f"{choice}, adamw", {})}

    def of_rules(key: str) -> Any:
        rule = values.get("inner" if key in OF_THE_CHAIN else "outer")
        return of_adamw[key] if rule == "adamw" and key in of_adamw else found.get(key)

    return {key: of_rules(key) if value is None else value for key, value in values.items()}


def check_rules(values: Mapping[str, Any]) -> None:
    """Raise ValueError for values that exclude each other."""
    if values.get("weight_decay") and values.get("decoupled_weight_decay"):
        raise ValueError("weight_decay and decoupled_weight_decay exclude each other: set one of them to 0")
    if values.get("outer") == "adamw" and values.get("momentum"):
        raise ValueError("momentum is of outer=momentum, and outer=adamw has betas[0]: leave momentum out")
    if values.get("inner") == "adamw" and values.get("temperature"):
        raise ValueError(
            "temperature must be 0 with inner=adamw: a chain whose steps are scaled by its own past samples no Gibbs "
            "measure, whatever its noise; leave it out, or take inner=momentum"
        )


def given(scope: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a constructor got: its locals(), asked for before it has any other."""
    return {name: value for name, value in scope.items() if name not in ("self", "params", "setting", "__class__")}


def check_ranges(values: Mapping[str, Any], choice: str = "", ranges: Mapping[str, Row] = RANGES) -> None:
    """Raise ValueError, naming the keyword, for the first value outside its range. Unknown keywords pass."""
    for name, value in values.items():
        row = ranges.get(f"{choice}.{name}") or ranges.get(name)
        if row is None:
            continue
        _, allowed, description = row
        try:
            ok = bool(allowed(value))
        except (TypeError, RuntimeError):  # the second for a tensor of several numbers
            ok = False
        if not ok:
            raise ValueError(f"{name} must be {description}, not {value!r}")


def scoped_gamma(group: Mapping[str, Any]) -> float:
    """gamma_k = gamma / (1 + scoping)^k, k the outer steps done: the smoothing shrinks with training."""
    gamma, part = float(group["gamma"]), (1.0 + float(group.get("scoping", 0.0))) ** -int(group["outer_steps"])
    return gamma if gamma == math.inf else gamma * part  # torch's compiler has no product of inf with a symbol


def grown_coupling(group: Mapping[str, Any]) -> float:
    """g_k = g (1 + scoping)^k: the coupling of replicas grows with training."""
    return float(group["coupling"]) / max(scoped_gamma({**group, "gamma": 1.0}), 1e-300)


def stiffness(group: Mapping[str, Any]) -> float:
    """1/gamma_k of the spring; inf once scoping has brought gamma_k to 0."""
    return 1.0 / gamma if (gamma := scoped_gamma(group)) > 1e-300 else math.inf
