"""Claim 6: paths of the optimizers from the same starts, and who reaches the global basin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..problems.catalog import PROBLEMS
from .descend_paths import Descend, Descent

if TYPE_CHECKING:
    from ..outcome import Outcome

__all__ = ["Descend", "run"]


def run(settings: Descend) -> Outcome:
    """Paths of the optimizers, and who reaches the global basin."""
    from .descend_figure import descend_figure

    return descend_figure(Descent(PROBLEMS[settings.problem](settings.dimension), settings))
