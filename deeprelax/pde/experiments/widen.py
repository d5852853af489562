"""Claim 4: a sharp deep and a wide shallow minimum under the equations, and the rough function's minima."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import UserError
from ...ranges import between, whole
from ..problems.wells import Wells
from ..settings import LEAST, Settings

if TYPE_CHECKING:
    from ..outcome import Outcome


@dataclass
class Widen(Settings):
    """A sharp and a wide well, as `Wells`, and the times at which they are looked at."""

    sharp_curvature: float = between(LEAST, 1e4)
    wide_curvature: float = between(LEAST, 1e4)
    gap: float = between(LEAST, 10)
    temperature: float = between(LEAST, 10)
    longest: float = between(LEAST, 10)
    count: int = whole(2, 500)


def run(settings: Widen) -> Outcome:
    """What becomes of the wells and of the rough function. UserError if the sharp well is not the sharper one."""
    from .widen_figure import widen_figure

    sharp, wide = settings.sharp_curvature, settings.wide_curvature
    if sharp <= wide:
        raise UserError(f"sharp_curvature={sharp:g} must be above wide_curvature={wide:g}: raise it")
    wells = Wells((sharp, wide), (0.0, settings.gap), softness=settings.temperature)
    return widen_figure(wells, settings.longest, settings.count)
