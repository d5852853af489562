"""Count a run's budget, say when it records, evaluates and saves, and time it."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

from ..errors import UserError


@dataclass(frozen=True)
class Budget:
    """epochs passes over `examples` training examples in batches of `batch_size`, `per_step` evaluations an outer step.

    Counted in gradient evaluations, the same for every optimizer: equal epochs are equal cost. `before` and
    `steps_before` of them were done by the parts of a chain before this one, with other outer steps. `least`: where
    steps differ in length, what a further one needs; `per_step` is then the most that one takes. Raises UserError if
    there is not even that much.
    """

    epochs: float
    examples: int
    batch_size: int
    per_step: int
    before: int = 0
    steps_before: int = 0
    least: int | None = None

    def __post_init__(self) -> None:
        if self.least is not None and self.evaluations - self.before < self.least:
            behind = f" behind the {self.before} of the parts before" if self.before else ""
            count = max(0, self.evaluations - self.before)
            raise UserError(
                f"epochs={self.epochs:g} allows {count} gradient evaluation{'s' * (count != 1)}{behind}, and a step of "
                f"this optimizer needs {self.least}: raise epochs"
            )

    @functools.cached_property
    def evaluations(self) -> int:
        """Gradient evaluations that the run may take: floor(epochs * examples / batch_size), at least 1."""
        over, under = _ratio(self.epochs)
        return max(1, over * self.examples // (under * self.batch_size))

    @functools.cached_property
    def outer_steps(self) -> int:
        """Whole outer steps in it, at least one behind those before."""
        return self.steps_before + max(1, (self.evaluations - self.before) // self.per_step)

    @property
    def start(self) -> float:
        """Passes before this part."""
        return self.passes(self.before)

    @property
    def taken(self) -> int:
        """Evaluations that the run takes in the end; where steps differ in length, at most."""
        if self.least is not None:
            return self.evaluations
        return self.before + (self.outer_steps - self.steps_before) * self.per_step

    def spent(self, evaluations: int, outer_steps: int) -> bool:
        """Is there no further step in it, after so many?"""
        if self.least is not None:
            return self.evaluations - evaluations < self.least
        return outer_steps >= self.outer_steps

    def passes(self, evaluations: int) -> float:
        """Passes over the training data after so many evaluations."""
        return evaluations * self.batch_size / self.examples

    def ends_at(self, every: float, evaluations: int, before: int, start: Fraction) -> bool:
        """Is the step from `before` to `evaluations` the last one at or before a multiple of `every`, from `start` on?

        Unlike `crosses` the last step of a budget of whole multiples is one, rounded down as it may be. Steps that
        differ in length are taken for ones of `per_step`.
        """
        over, under = _ratio(every)
        size, unit = self.batch_size * under, over * self.examples
        now, then = (-(-(n + self.per_step) * size // unit) for n in (evaluations, before))  # rounded up
        return now > then and (now - 1) * _exact(every) >= start

    def amounts_to(self, passes: float, evaluations: int) -> bool:
        """Are so many evaluations so many passes, but for less than an outer step?"""
        return (evaluations + self.per_step) * self.batch_size > _exact(passes) * self.examples

    def crosses(self, every: float | None, evaluations: int, before: int) -> bool:
        """Has the step from `before` to `evaluations` reached or passed a multiple of `every` passes?"""
        if every is None:
            return False
        over, under = _ratio(every)  # a multiple is over / under * examples, of the evaluations * batch_size
        size, unit = self.batch_size * under, over * self.examples
        return evaluations * size // unit > before * size // unit


@functools.cache
def _exact(number: float) -> Fraction:
    """The decimal number that was written: 0.1 is a tenth, so that no multiple of it is missed by rounding."""
    return Fraction(str(number))


@functools.cache  # asked for at each step, where a Fraction is slow
def _ratio(number: float) -> tuple[int, int]:
    """The same as two whole numbers."""
    return _exact(number).as_integer_ratio()


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done after a step."""

    record: bool
    evaluate: bool
    save: bool


@dataclass
class Cadence:
    """When to record, evaluate and save: each so many passes, and after the last step. Every evaluation is saved.

    Checkpoints by the clock come every `checkpoint_seconds`, but where one takes long to write they come less often: at
    most 1 % of the time goes into them. `by_clock` is for the main rank alone.
    """

    budget: Budget
    record_every: float
    evaluate_every: float
    checkpoint_every: float | None
    checkpoint_seconds: float | None
    by_clock: bool = True
    _saved: float = 0.0  # when the last checkpoint was
    _took: float = 0.0  # seconds to write it

    def start(self) -> None:
        """The clock of the checkpoints starts."""
        self._saved = time.monotonic()

    def due(self, evaluations: int, before: int, *, last: bool) -> Due:
        """After the step from `before` to `evaluations`."""
        crosses = self.budget.crosses
        evaluate = last or crosses(self.evaluate_every, evaluations, before)
        return Due(
            record=last or crosses(self.record_every, evaluations, before),
            evaluate=evaluate,
            save=evaluate or crosses(self.checkpoint_every, evaluations, before),
        )

    def time_to_save(self) -> bool:
        """By the clock of the main rank, to which the others listen."""
        if self.checkpoint_seconds is None or not self.by_clock:
            return False
        return time.monotonic() - self._saved >= max(self.checkpoint_seconds, 100 * self._took)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Around the writing of a checkpoint."""
        began = time.monotonic()
        yield
        self._saved = time.monotonic()
        self._took = self._saved - began


@dataclass
class Clock:
    """Seconds of the whole loop, and of its steps alone: without evaluations of x and checkpoints."""

    seconds: float = 0.0
    step_seconds: float = 0.0
    _mark: float = 0.0

    def start(self) -> None:
        """What has passed until now is in neither."""
        self._mark = time.perf_counter()

    def lap(self, *, step: bool) -> None:
        """What has passed since the last call was a step, or something else."""
        now = time.perf_counter()
        self.seconds += now - self._mark
        self.step_seconds += (now - self._mark) * step
        self._mark = now
