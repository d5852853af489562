"""The training loop: one for all optimizers."""

from __future__ import annotations

import dataclasses
import logging
import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..configuration.schema import TrainConf
from ..errors import UserError
from ..optim import Relaxation
from ..parallel.ranks import SOLO, Ranks
from ..parallel.signals import Requests, Stopped
from ..records import checkpoint
from ..records.metrics import Number
from ..runs.build import Data, load_weights
from ..runs.continuation import LENGTH, decisive, differences
from .batchnorm import statistics
from .cadence import Budget
from .evaluation import scores
from .guard import GuardedStep
from .journal import Journal
from .nonfinite import has_finite_values, state_sentence, step_sentence
from .objective import Autocast
from .schedules import make_schedule, set_lr
from .share import shared_objective

log = logging.getLogger(__name__)


class Trainer:
    """Trains a network within a budget, and keeps what is needed to go on after an interruption.

    What `state` returns, with the configuration, determines everything that follows.
    """

    def __init__(
        self,
        conf: TrainConf,
        data: Data,
        model: nn.Module,
        optimizer: Relaxation,
        directory: Path,
        ranks: Ranks = SOLO,
    ) -> None:
        self.conf, self.data, self.model, self.optimizer, self.directory = conf, data, model, optimizer, directory
        self.ranks, self.configuration = ranks, decisive(dataclasses.asdict(conf))
        device = data.train.device
        self.budget = Budget(conf.epochs, len(data.train), conf.batch_size, optimizer.evaluations)
        self.schedule = make_schedule(conf.schedule, conf.epochs)
        self.autocast = Autocast(conf.hardware.precision, device)
        self._stop = torch.zeros((), device=device)  # more than 0: some rank was asked to stop
        self.objective = shared_objective(conf, data.train, model, optimizer, ranks, self._stop)
        self._skips = conf.train.on_nonfinite == "skip"
        alone = ranks.world == 1
        self._guarded_step = GuardedStep(
            model, optimizer, self.objective, can_give_up=alone and optimizer.evaluations > 1, skips=self._skips
        )
        self.statistics = statistics(conf, data.train)

        self.outer_steps = 0
        self.seconds = self.step_seconds = 0.0  # of the whole loop, and of its steps alone
        self.scores: dict[str, dict[str, float]] = {}
        self._saving = 0.0  # seconds that the last checkpoint took
        self._told = False  # does the host know what the ranks have agreed on?
        self.skipped = 0  # outer steps that were not finite and changed nothing
        self.unevaluated = False  # is the evaluation that belongs to the last step still to be made?
        self.asked: int | None = None  # the signal that came when there was nothing more to stop
        self.journal = Journal(directory, self.budget, device, ranks)
        self._fingerprint = data.fingerprint

    @property
    def evaluations(self) -> int:
        """Gradient evaluations so far."""
        return self.objective.evaluations

    def fit(self) -> None:
        """Take the outer steps that are left.

        Raises, with nothing lost, UserError if a step is not finite and Stopped if a signal asks for it.
        """
        self.journal.open(self.evaluations)
        self._mark, self._saved = time.perf_counter(), time.monotonic()
        try:
            self.model.train()
            with Requests() as requests:
                if self.unevaluated:
                    self._evaluate(requests)
                    self._clock(stepping=False)
                    self._save()
                while self.outer_steps < self.budget.outer_steps:
                    set_lr(self.optimizer, self.schedule(self.budget.passes(self.evaluations)))
                    loss = self._step(requests)
                    self.outer_steps += 1
                    self.journal.count(loss, self.evaluations)
                    self._after_step(requests)
                self.asked = requests.number
            self.journal.end(self.configuration, self.scores)
        finally:
            self.journal.close()

    def _step(self, requests: Requests) -> Tensor:
        self._stop.fill_(float(requests.number is not None))
        try:
            return self._guarded_step(requests)
        except Stopped:
            self._save_before_stopping()
            raise

    def _asked_to_stop(self, requests: Requests) -> bool:
        """All ranks at the same step: at once on CPUs, at a record on GPUs, where the host waits for no step."""
        if self.ranks.world == 1:
            return requests.number is not None
        return self._told and bool(self._stop > 0)

    def _save_before_stopping(self) -> None:
        """Between records: on a GPU the host has not asked yet whether all steps were finite."""
        self._stop_if_not_finite()
        self._stop_unless_weights_are_finite()
        self._clock(stepping=True)
        self._save()

    def _save(self) -> None:
        if self.ranks.main:
            began = time.monotonic()
            checkpoint.save(self.directory, self.state())
            self._saved = time.monotonic()
            self._saving = self._saved - began

    def _after_step(self, requests: Requests) -> None:
        last = self.outer_steps == self.budget.outer_steps
        cadence, crosses = self.conf.train, self.budget.crosses
        recording = last or crosses(cadence.record_every, self.evaluations)
        evaluating = last or crosses(cadence.evaluate_every, self.evaluations)
        saving = evaluating or crosses(cadence.checkpoint_every, self.evaluations) or self._due()
        on_cpu = self._stop.device.type == "cpu"  # elsewhere the host does not wait for each step
        if recording or saving or on_cpu:
            self._stop_if_not_finite()
        self._told = on_cpu or recording or evaluating
        self._clock(stepping=True)
        if saving:
            self._stop_unless_weights_are_finite()
        if recording:
            self.journal.record(self.optimizer, self.skipped if self._skips else None, self._counts())
        self.unevaluated = evaluating
        if self._asked_to_stop(requests) and (evaluating or not last):
            self._save_before_stopping()  # an evaluation may take longer than there is time
            raise Stopped(requests.number or signal.SIGTERM)
        if evaluating:
            self._evaluate(requests)
        self._clock(stepping=False)
        if saving:
            self._save()
            self._clock(stepping=False)

    def _due(self) -> bool:
        """Is it time for a checkpoint by the clock? Asked of the main rank alone, which saves without the others.

        One that takes long to write is written less often: at most 1 % of the time goes into it.
        """
        every = self.conf.train.checkpoint_seconds
        if every is None or not self.ranks.main:
            return False
        return time.monotonic() - self._saved >= max(every, 100 * self._saving)

    def _clock(self, *, stepping: bool) -> None:
        now = time.perf_counter()
        self.seconds += now - self._mark
        self.step_seconds += (now - self._mark) * stepping
        self._mark = now

    def _stop_if_not_finite(self) -> None:
        count, step = self.optimizer.nonfinite_steps()
        if not count:
            return
        if self._skips:
            self.skipped += count
            more = f" and {count - 1} more" if count > 1 else ""
            log.warning("outer step %d%s: not finite, left out", step, more)
            return
        raise self._not_finite(step_sentence, step)

    def _stop_unless_weights_are_finite(self) -> None:
        """A finite step may lead to a weight that is not; it must reach no checkpoint."""
        if not has_finite_values(self.model):
            raise self._not_finite(state_sentence, "weights or batch-norm statistics are")

    def _not_finite(self, sentence: Callable[..., str], what: str | int) -> UserError:
        saved = (self.directory / checkpoint.NAME).exists()
        conf, passes = self.conf.optimizer, self.budget.passes(self.evaluations)
        return UserError(sentence(what, passes, self.optimizer, conf, saved=saved))

    def _evaluate(self, requests: Requests) -> None:
        """Everything is computed before anything is written: given up for a stop, it is made when the run goes on."""
        last = self.outer_steps == self.budget.outer_steps
        interrupt = requests.give_up if self.ranks.world == 1 else None
        try:
            self.scores = scores(
                self.model, self.data, self.statistics, self.autocast, self.ranks, train=last, interrupt=interrupt
            )
        except Stopped:
            self._save_before_stopping()
            raise
        if not all(math.isfinite(found["loss"]) for found in self.scores.values()):
            raise self._not_finite(state_sentence, "the loss of x is")
        self.unevaluated = False
        self.journal.evaluated(self.scores, self._counts())

    def _counts(self) -> dict[str, Number]:
        return {
            "gradient_evaluations": self.evaluations,
            "passes": self.budget.passes(self.evaluations),
            "outer_steps": self.outer_steps,
            "seconds": round(self.seconds, 3),
        }

    def state(self) -> dict[str, Any]:
        """Weights, optimizer and counters: tensors and plain types."""
        return {
            "configuration": self.configuration,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "evaluations": self.evaluations,
            "outer_steps": self.outer_steps,
            "skipped": self.skipped,
            "unevaluated": self.unevaluated,
            **self.journal.state(),
            "scores": self.scores,
            "seconds": self.seconds,
            "step_seconds": self.step_seconds,
            "threads": torch.get_num_threads(),
            "ranks": self.ranks.world,
            "data": self._fingerprint,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned. Raises UserError if configuration, data or network are not the same."""
        lengthens = self.conf.continue_from != state["configuration"]["continue_from"]
        if different := differences(state["configuration"], self.configuration, LENGTH if lengthens else None):
            raise UserError(f"the checkpoint in {self.directory} is of another configuration: {different}")
        if state["data"] != self._fingerprint:
            raise UserError(
                f"the data are not those that {self.directory} began with: put them back, or start anew with force=true"
            )
        load_weights(self.model, state, self.directory)
        self.optimizer.load_state_dict(state["optimizer"])
        self.objective.evaluations = state["evaluations"]
        self.outer_steps = state["outer_steps"]
        self.skipped = state["skipped"]
        self.unevaluated = state["unevaluated"]
        self.journal.load_state(state)
        self.scores = state["scores"]
        self.seconds, self.step_seconds = state["seconds"], state["step_seconds"]
