"""Claim 2: mean directions of the optimizers beside the solvers' gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...ranges import whole
from ..settings import Settings

if TYPE_CHECKING:
    from ..outcome import Outcome


@dataclass
class Directions(Settings):
    """How much is drawn: chains of an optimizer at each point, and the seed of their noise."""

    chains: int = whole(10, 10**6)
    seed: int = whole(0)


def run(settings: Directions) -> Outcome:
    """The measured directions on the solvers' gradients."""
    from .directions_figure import directions_figure

    return directions_figure(settings.chains, settings.seed)
