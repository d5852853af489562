"""Claim 5: the two-scale diffusion beside the gradient flow of u, and the rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..problems.catalog import PROBLEMS
from .homogenize_scales import Homogenize, TwoScales

if TYPE_CHECKING:
    from ..outcome import Outcome

__all__ = ["Homogenize", "run"]


def run(settings: Homogenize) -> Outcome:
    """Paths of the slow variable beside the gradient flows, and the rate."""
    from .homogenize_figure import homogenize_figure

    return homogenize_figure(TwoScales(PROBLEMS[settings.problem](1), settings))
