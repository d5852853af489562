"""State type and range of each key of a task. Imports no torch: the command line's schema is built from it.

Values and what they mean stand in the constructors and in configs/task/.
"""

from __future__ import annotations

import math
from typing import Any

from ..optim.hyperparameters import Row

_COUNT: Row = (int, lambda v: 1 <= v <= 10**6, "an integer from 1 to 1000000")
_SIZE: Row = (float, lambda v: 0 <= v < math.inf, "a finite number >= 0")
# "keyword", or "choice.keyword" where one choice of task allows less than the others
RANGES: dict[str, Row] = {
    "validation": (int, lambda v: v == 0 or 2 <= v <= 10**6, "0, or an integer from 2 to 1000000"),
    "measurements": _COUNT,
    "dimensions": _COUNT,
    "nonzero": _COUNT,
    "size": (int, lambda v: 1 <= v <= 1000, "an integer from 1 to 1000"),
    "rank": (int, lambda v: 1 <= v <= 1000, "an integer from 1 to 1000"),
    "noise": _SIZE,
    "column_spread": (float, lambda v: 0 <= v <= 10, "a number from 0 to 10"),
    "problem_seed": (int, lambda v: 0 <= v <= 10**9, "an integer from 0 to 1000000000"),
}


def check_ranges(**values: Any) -> None:
    """Raise ValueError, naming the keyword, for the first value outside its range."""
    for name, value in values.items():
        _, allowed, description = RANGES[name]
        if not allowed(value):
            raise ValueError(f"{name} must be {description}, not {value!r}")
