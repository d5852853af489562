"""Fields of configuration dataclasses with what they may hold: no default (YAML has it), a check, and its words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import field
from typing import Any

from omegaconf import MISSING

Check = tuple[Callable[[Any], bool], str]  # is the value allowed, and what is allowed: "it must be ..."


def limited(allowed: Callable[[Any], bool], description: str) -> Any:
    """A field whose value `allowed` accepts."""
    return field(default=MISSING, metadata={"check": (allowed, description)})


def choice(*allowed: str) -> Any:
    """One of these strings."""
    return limited(lambda v: v in allowed, any_of(allowed))


def any_of(words: tuple[str, ...]) -> str:
    """ "a, b or c"."""
    return ", ".join(words[:-1]) + " or " + words[-1]


def whole(low: int, high: int = 10**9) -> Any:
    """An integer from low to high; null passes where the field's type has it."""
    return limited(lambda v: v is None or low <= v <= high, f"an integer from {low} to {high}")


def positive(high: float = math.inf) -> Any:
    """A number above 0; null passes where the field's type has it."""
    bound = "a finite number > 0" if high == math.inf else f"a number > 0 and at most {high:g}"
    return limited(lambda v: v is None or (0 < v <= high and v < math.inf), bound)


def between(low: float, high: float) -> Any:
    """A number from low to high."""
    return limited(lambda v: low <= v <= high, f"a number from {low:g} to {high:g}")


def each(allowed: Callable[[Any], bool], description: str, most: int = 12) -> Any:
    """A list of 1 to `most` values that `allowed` accepts."""

    def check(values: Any) -> bool:
        return 0 < len(values) <= most and all(allowed(v) for v in values)

    return field(default_factory=list, metadata={"check": (check, f"1 to {most} values, each {description}")})
