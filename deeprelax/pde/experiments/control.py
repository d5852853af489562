"""Claim 3: SGD as a diffusion beside the controlled one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..problems.catalog import PROBLEMS
from .control_diffusion import Control, Diffusion

if TYPE_CHECKING:
    from ..outcome import Outcome

__all__ = ["Control", "run"]


def run(settings: Control) -> Outcome:
    """SGD beside the controlled diffusion: value function, paths, densities, and the bound."""
    from .control_figure import control_figure

    return control_figure(Diffusion(PROBLEMS[settings.problem](1), settings))
