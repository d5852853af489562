"""The training loop: one for all optimizers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import Stopped
from ..optim import LBFGS
from ..optim.batchnorm import training_mode
from ..records import checkpoint
from ..records.metrics import Number
from .average import Average
from .best import Best
from .cadence import Budget, Cadence, Clock
from .guard import Guard, GuardedStep
from .journal import Journal
from .objective import Objective
from .schedules import Schedule, set_rates
from .share import Share
from .stepper import Stepper
from .stop import Stop

Scores = dict[str, dict[str, float]]  # split to the scores of x on it


@dataclass
class Trainer:
    """Takes the outer steps of a budget, and keeps what is needed to resume after an interruption.

    What `state` returns determines everything that follows. `identity` is what a checkpoint must share with the run
    that resumes from it (configuration, data); the loop only keeps it. `writes` is for the main rank alone. `average`
    is kept beside x, and `best`, the best evaluation, may end the run before its budget does.
    """

    model: nn.Module
    optimizer: Stepper
    objective: Objective
    share: Share
    step: GuardedStep
    evaluate: Callable[..., Scores]  # (interrupt) to the scores of x, on training batches too
    budget: Budget
    schedule: Schedule
    scheduled: str  # the rates that it moves, lr, inner_lr or both
    cadence: Cadence
    guard: Guard
    stop: Stop
    journal: Journal
    directory: Path
    writes: bool
    identity: dict[str, Any]
    average: Average | None = None
    best: Best | None = None
    clock: Clock = field(default_factory=Clock)
    outer_steps: int = 0
    scores: Scores = field(default_factory=dict)
    unevaluated: bool = False  # is the evaluation that belongs to the last step still to be made?

    @property
    def evaluations(self) -> int:
        """Gradient evaluations so far."""
        return self.objective.evaluations

    @property
    def passes(self) -> float:
        """Passes over the training data so far."""
        return self.budget.passes(self.evaluations)

    @property
    def _spent(self) -> bool:
        return self.budget.spent(self.evaluations, self.outer_steps) or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        """Was the best evaluation so long ago that the run ends before its budget does?"""
        spent = self.budget.spent(self.evaluations, self.outer_steps)
        return self.best is not None and self.best.ended and not spent

    def fit(self) -> None:
        """Take the outer steps that are left.

        Raises, with nothing lost, UserError if a step is not finite and Stopped if a signal asks for it.
        """
        self.journal.open(self.evaluations)
        self.clock.start()
        self.cadence.start()
        try:
            training_mode(self.model)
            with self.stop:
                if self.unevaluated:  # stopped before it, the last time
                    self._evaluate()
                    self._save()
                self._descend()
            if self.average is not None:
                self.average.warn_if_empty()
            self.journal.end(self.identity["configuration"], self.scores)
        finally:
            self.journal.close()

    def _descend(self) -> None:
        while not self._spent:
            set_rates(self.optimizer, self.schedule(self.passes), self.scheduled)
            before = self.evaluations
            loss = self._step_or_leave()
            self.outer_steps += 1
            self.objective.task.advance(self.model, self.evaluations)
            if self.average is not None:
                self.average.update(self.evaluations, before)
            self.journal.count(loss, self.evaluations)
            due = self.cadence.due(self.evaluations, before, last=self._spent)
            due = self.stop.with_checkpoint(due, self.cadence.time_to_save())
            self.guard.check(due)  # nothing that is not finite passes this line
            self.clock.lap(step=True)
            if due.record:
                self.journal.record(self.optimizer, self.guard.skipped if self.guard.skips else None, self._counts())
            self.unevaluated = due.evaluate
            if self.stop.agreed(due):  # before the evaluation, which may take longer than there is time
                self._save_before_leaving()
                self.stop.wait_for_all()
                raise self.stop.stopped()
            if due.evaluate:
                self._evaluate()
            if due.save:
                self._save()

    def _step_or_leave(self) -> Tensor:
        self.stop.announce(save=self.cadence.time_to_save())
        if isinstance(self.optimizer, LBFGS):
            self.optimizer.left = self.budget.evaluations - self.evaluations
        try:
            return self.step(self.stop.interrupt)
        except Stopped:
            self._save_before_leaving()
            raise

    def _evaluate(self) -> None:
        """Everything is computed before anything is written: aborted for a stop, it is made when the run resumes."""
        try:
            self.scores = self.evaluate(interrupt=self.stop.interrupt)
        except Stopped:
            self._save_before_leaving()
            raise
        self.guard.check_scores(self.scores)
        self.unevaluated = False
        self.journal.evaluated(self.scores, self._counts())
        if self.best is not None:
            self.best.see(self.scores, self.evaluations)
        self.clock.lap(step=False)

    def _save_before_leaving(self) -> None:
        """Also between records, where on a GPU the host has not asked yet whether all steps were finite."""
        self.guard.check_steps()
        self.guard.check_weights()
        self.clock.lap(step=True)
        self._save()

    def _save(self) -> None:
        with self.cadence.saving():
            state = self.state()
            if self.writes:
                checkpoint.save(self.directory, state)
        self.clock.lap(step=False)

    def _counts(self) -> dict[str, Number]:
        return {
            "gradient_evaluations": self.evaluations,
            "passes": self.passes,
            "outer_steps": self.outer_steps,
            "seconds": round(self.clock.seconds, 3),
            **({"traffic_bytes": self.share.traffic_bytes} if self.share.ranks.world > 1 else {}),
        }

    def state(self) -> dict[str, Any]:
        """Weights, optimizer and counters: tensors and plain types. To be called on all ranks."""
        return {
            **self.identity,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ranks": self.share.gather_chains(self.optimizer),
            "evaluations": self.evaluations,
            "batches": self.objective.batches,
            "outer_steps": self.outer_steps,
            "traffic_bytes": self.share.traffic_bytes,
            "skipped": self.guard.skipped,
            "unevaluated": self.unevaluated,
            "average": self.average.state() if self.average is not None else None,
            "best": self.best.state() if self.best is not None else None,
            **self.journal.state(),
            "scores": self.scores,
            "seconds": self.clock.seconds,
            "step_seconds": self.clock.step_seconds,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from what `state` returned. The caller has compared identities and loaded the network's weights.

        Without the state of an optimizer, the one of a new part of a chain, that one begins afresh.
        """
        if state["optimizer"] is not None:
            self.optimizer.load_state_dict(state["optimizer"])
        self.share.restore_chain(self.optimizer, state["ranks"])
        # older checkpoints are of optimizers that repeat no batch
        self.objective.counts = state["evaluations"], state.get("batches", state["evaluations"])
        self.outer_steps = state["outer_steps"]
        self.share.traffic_bytes = state.get("traffic_bytes", 0)  # older runs did not count
        self.guard.skipped = state["skipped"]
        self.unevaluated = state["unevaluated"]
        if self.average is not None and state.get("average") is not None:
            self.average.load_state(state["average"])
        if self.best is not None and state.get("best") is not None:
            self.best.load_state(state["best"])
        self.journal.load_state(state)
        self.scores = state["scores"]
        self.clock.seconds, self.clock.step_seconds = state["seconds"], state["step_seconds"]
