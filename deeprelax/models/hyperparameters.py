"""State type and range of each option of a network. Imports no torch: the command line's schema is built from it.

Values and what they mean stand in the constructors and in configs/model/.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Row = tuple[type[Any], Callable[[Any], bool], str]  # type, whether a value is allowed, "must be ..."
_PROBABILITY: Row = (float, lambda v: 0 <= v < 1, "a number in [0, 1)")
_COUNT: Row = (int, lambda v: 1 <= v <= 10**9, "an integer from 1 to 1000000000")
OPERATORS = ("identity", "square", "sin", "exp", "tanh", "one")
# "keyword", or "choice.keyword" where one choice of network allows less than the others
RANGES: dict[str, Row] = {
    "dropout": _PROBABILITY,
    "input_dropout": _PROBABILITY,
    "hidden": _COUNT,
    "variant": (str, lambda v: v in ("paper", "original"), "paper or original"),
    "depth": (int, lambda v: v >= 10 and (v - 4) % 6 == 0, "6 n + 4 with n >= 1 (10, 16, 22, 28, 40, ...)"),
    "expression_tree.depth": (int, lambda v: 1 <= v <= 6, "an integer from 1 to 6"),
    "transformer.depth": (int, lambda v: 1 <= v <= 1000, "an integer from 1 to 1000"),
    "width": _COUNT,
    "heads": _COUNT,
    "context": (int, lambda v: 1 <= v <= 10**5, "an integer from 1 to 100000"),
    "layers": (int, lambda v: 0 <= v <= 1000, "an integer from 0 to 1000"),
    "activation": (str, lambda v: v in ("tanh", "relu", "gelu", "silu"), "tanh, relu, gelu or silu"),
    "rank": _COUNT,
    "fourier": (int, lambda v: 0 <= v <= 10**6, "an integer from 0 to 1000000"),
    "fourier_scale": (float, lambda v: 0 < v <= 1e6, "a number > 0 and at most 1000000"),
    "experts": (int, lambda v: 1 <= v <= 10**4, "an integer from 1 to 10000"),
    "gate_hidden": _COUNT,
    "operators": (
        list[str],
        lambda v: 0 < len(v) == len(set(v)) and set(v) <= set(OPERATORS),
        f"a list of {', '.join(OPERATORS)}, each once at most",
    ),
    "spread": (float, lambda v: 0 < v <= 1e3, "a number > 0 and at most 1000"),
    "kind": (str, lambda v: v in ("dense", "convolution"), "dense or convolution"),
    "evaluation_steps": (int, lambda v: 1 <= v <= 10**5, "an integer from 1 to 100000"),
    "sigma": (float, lambda v: 0 < v <= 1e3, "a number > 0 and at most 1000"),
    "drift_hidden": _COUNT,
    "divergence": (str, lambda v: v in ("kl", "stl"), "kl or stl"),
    "memory": (str, lambda v: v in ("store", "recompute"), "store or recompute"),
    "scale": (float, lambda v: 0 <= v <= 1e6, "a number from 0 to 1000000"),
    "solver": (str, lambda v: v in ("euler", "midpoint", "rk4"), "euler, midpoint or rk4"),
    "steps": (int, lambda v: 1 <= v <= 1000, "an integer from 1 to 1000"),
    "time": (bool, lambda v: isinstance(v, bool), "true or false"),
    "architecture": (str, lambda v: v.strip() != "", "a name of torchvision.models, as resnet18"),
    "weights": (str, lambda v: v.strip() != "", "a file with a state_dict"),
    "knots": (int, lambda v: 1 <= v <= 1000, "an integer from 1 to 1000"),
}


def check_ranges(**values: Any) -> None:
    """Raise ValueError, naming the keyword, for the first value outside its range."""
    for name, value in values.items():
        _, allowed, description = RANGES[name]
        if not allowed(value):
            raise ValueError(f"{name} must be {description}, not {value!r}")
