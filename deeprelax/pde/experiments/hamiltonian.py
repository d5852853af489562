"""Depth as time: Hamiltonian, momenta and p.dx of a trained network, from its first to its last layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...ranges import each, limited, whole
from ..settings import Settings

if TYPE_CHECKING:
    from ..outcome import Outcome
    from .hamiltonian_depth import Trained


@dataclass
class Hamiltonian(Settings):
    """Which run's network is followed, on how many images, in which numbers of steps."""

    run: str = limited(lambda v: v.strip() != "", "the directory of a run")
    images: int = whole(1, 1000)
    steps: list[int] = each(lambda v: 1 <= v <= 1000, "an integer from 1 to 1000")
    seed: int = whole(0)


def run(settings: Hamiltonian, trained: Trained) -> Outcome:
    """The network before and after training, along its depth. The command hands it over: nothing here knows of runs."""
    from .hamiltonian_figure import hamiltonian_figure

    return hamiltonian_figure(trained, sorted(set(settings.steps)), settings.seed)
