"""What the settings of all experiments share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..ranges import limited

# beyond these numbers the exponentials of the solvers leave the range of doubles
LEAST, MOST = 1e-6, 1e6


@dataclass
class Settings:
    """The keys of a `deeprelax pde COMMAND`: a subclass declares them once, with their ranges, and Hydra reads it.

    Values and what they mean stand in configs/pde/COMMAND.yaml, so nothing here has a default: code that makes
    settings of its own gives what is read, by name.
    """

    output_dir: str = limited(lambda v: v.strip() != "", "the path of a folder")


def inside(low: float, high: float) -> Any:
    """A number between the two, which are excluded."""
    return limited(lambda v: low < v < high, f"a number in ({low:g}, {high:g})")
