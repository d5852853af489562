"""The best evaluation so far, by validation data: its weights are kept, and the run ends if none is better for long."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..tasks.metric import Metric
from .cadence import Budget

log = logging.getLogger(__name__)


@dataclass
class Best:
    """The evaluation of x with the best first score on validation data; of equal ones the earliest.

    name, metric: of that score. keep: writes the network to the run's file of it, given the number of gradient
    evaluations; None: it is not kept. patience: the run ends at the evaluation that so many passes (less than an outer
    step under them will do) have brought no better score; None: it does not. Scores are the same on all ranks, and so
    is what is decided by them.

    Attributes:
        found: {"evaluations", "passes", "scores"} of the best one; empty before the first.
        since: gradient evaluations from which `patience` counts.
        ended: has the run ended by it?
    """

    name: str
    metric: Metric
    budget: Budget
    keep: Callable[[int], None] | None = None
    patience: float | None = None
    found: dict[str, Any] = field(default_factory=dict)
    since: int = 0
    ended: bool = False

    def see(self, scores: dict[str, dict[str, float]], evaluations: int) -> None:
        """After an evaluation, and before the checkpoint that is to know of it."""
        if not self.found or self._cost(scores) < self._cost(self.found["scores"]):
            self.found = {"evaluations": evaluations, "passes": self.budget.passes(evaluations), "scores": scores}
            self.since = evaluations
            if self.keep is not None:
                self.keep(evaluations)
        elif self.patience is not None and self.budget.amounts_to(self.patience, evaluations - self.since):
            self.ended = True
            log.info(
                "validation %s no better than at pass %.4g: the run ends here (train.patience=%g)",
                self.name, self.found["passes"], self.patience,
            )  # fmt: skip

    def _cost(self, scores: dict[str, dict[str, float]]) -> float:
        return self.metric.cost(scores["validation"][self.name])

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"found": self.found, "since": self.since, "ended": self.ended}

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from what `state` returned."""
        self.found, self.since, self.ended = state["found"], state["since"], state["ended"]
