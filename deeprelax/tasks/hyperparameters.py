"""State type and range of each key of a task. Imports no torch: the command line's schema is built from it.

Values and what they mean stand in the constructors and in configs/task/.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..optim.hyperparameters import Row, check_ranges, whole

_COUNT: Row = (int, whole(1, 10**6), "an integer from 1 to 1000000")
_SIZE: Row = (float, lambda v: 0 <= v < math.inf, "a finite number >= 0")
ESTIMATED = ("ode", "wave", "burgers", "helmholtz", "kdv", "hjb", "grid")
EQUATIONS = ("heat", "convection", "reaction", "wave", "burgers", "oscillator", "oscillator_2d", "viscous_hj")
SYMBOLIC = ("heat", "wave", "poisson", "growth", "logistic", "own")


def _weights(values: Sequence[Any]) -> bool:
    """Finite, none below 0, not all 0."""
    return all(isinstance(v, int | float) and 0 <= v < math.inf for v in values) and sum(values) > 0


RANGES: dict[str, Row] = {
    "validation": (int, lambda v: v == 0 or whole(2, 10**6)(v), "0, or an integer from 2 to 1000000"),
    "measurements": _COUNT,
    "dimensions": (int, whole(1, 10**4), "an integer from 1 to 10000"),  # the test set holds its square in numbers
    "nonzero": _COUNT,
    "size": (int, whole(1, 100), "an integer from 1 to 100"),  # the test set holds half its fourth power
    "rank": (int, whole(1, 100), "an integer from 1 to 100"),
    "noise": _SIZE,
    "column_spread": (float, lambda v: 0 <= v <= 10, "a number from 0 to 10"),
    "equation": (str, lambda v: v in EQUATIONS, f"one of {', '.join(EQUATIONS)}"),
    "coefficient": (float, lambda v: 0 <= v <= 1e6, "a number from 0 to 1000000"),
    "points": (int, whole(1, 10**9), "an integer from 1 to 1000000000"),
    "conditions": (str, lambda v: v in ("soft", "hard"), "soft or hard"),
    "initial_weight": _SIZE,
    "boundary_weight": _SIZE,
    "adaptive": (float, lambda v: 0 <= v <= 1, "a number from 0 to 1"),
    "adapt_every": (float, lambda v: 0 < v <= 1e6, "a number > 0 and at most 1000000"),
    "differentiation": (str, lambda v: v in ("reverse", "forward"), "reverse or forward"),
    "estimation.equation": (str, lambda v: v in ESTIMATED, f"one of {', '.join(ESTIMATED)}"),
    "path": (str, lambda v: v.strip() != "", "the path of a CSV file"),
    "terms": (str, lambda v: v.strip() != "", "terms with commas between them, as u_t, u_xx, u*u_x"),
    "estimation.points": (int, whole(10, 10**6), "an integer from 10 to 1000000"),
    "residual_weight": _SIZE,
    "warmup": (float, lambda v: 0 <= v <= 1e6, "a number of passes from 0 to 1000000"),
    "prune_at": (
        list[float],
        lambda v: all(isinstance(each, int | float) and 0 < each <= 1e6 for each in v),
        "a list of passes, numbers > 0 and at most 1000000",
    ),
    "tolerance": (float, lambda v: 0 <= v <= 1, "a number from 0 to 1"),
    "symbolic.equation": (str, lambda v: v in SYMBOLIC, f"one of {', '.join(SYMBOLIC)}"),
    "residual": (str, lambda v: v.strip() != "", "a formula, as u_t - u_xx"),
    "symbolic.conditions": (list[str], lambda v: len(v) <= 20, "a list of at most 20 conditions"),
    "domain": (dict[str, Any], lambda v: len(v) <= 6, "at most 6 coordinates with their ends, as {t: [0, 1]}"),
    "condition_weight": _SIZE,
    "harden_after": _SIZE,
    "sharpness": (float, lambda v: 1 <= v <= 1000, "a number from 1 to 1000"),
    "entropy": _SIZE,
    "paths": (int, whole(1, 10**4), "an integer from 1 to 10000"),
    "kappa": _SIZE,
    "tokens.path": (str, lambda v: v.strip() != "", "the path of a text file"),
    "characters": (int, whole(10, 10**9), "an integer from 10 to 1000000000"),
    "context": (int, whole(1, 10**5), "an integer from 1 to 100000"),
    "test_share": (float, lambda v: 0 < v < 1, "a number > 0 and < 1"),
    "validation_share": (float, lambda v: 0 <= v < 1, "a number >= 0 and < 1"),
    "label_smoothing": (float, lambda v: 0 <= v < 1, "a number >= 0 and < 1"),
    "class_weights": (list[float], _weights, "a list of finite numbers >= 0, one above 0, as [1,0.5]"),
    "problem_seed": (int, whole(0, 10**9), "an integer from 0 to 1000000000"),
}


def check_options(options: Mapping[str, Any], task: str = "") -> None:
    """Raise ValueError for the first option of a task that is out of its range; None is one that was not given."""
    check_ranges({key: value for key, value in options.items() if value is not None}, task, RANGES)
