"""How a run stops: asked, agreed by all ranks, saved, left.

    asked    A signal handler notes the number of the first signal and does nothing else (`parallel/signals.py`); a
             second signal ends the process at once.
    agreed   Before each step a rank that was asked raises its flag, a number on the device. The flag is averaged in
             the step's own all-reduce (`share.py`): after the step it is above 0 on all ranks or on none. So is the
             flag of the main rank's clock, that a checkpoint is due.
    saved    The loop writes a checkpoint, before an evaluation that may take longer than there is time. The
             evaluation is made when the run is resumed.
    left     The loop raises Stopped, which ends a whole sweep. `cli.py` shows the command that resumes; the exit
             status is 128 + the number of the signal.

A single rank need not finish a step or an evaluation that takes more than 5 seconds after the signal: it is
aborted, and weights, batch-norm buffers and the count are as before it (`guard.py`). Several ranks could not abort at
the same moment, so they always finish the step.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, Self

import torch

from ..errors import Stopped
from .cadence import Due
from .collectives import Collectives


class Signals(Protocol):
    """Notes the first signal that asks this process to stop, within its `with`."""

    number: int | None

    def abort_if_overdue(self) -> None:
        """Raise Stopped if the signal came too long ago. For work that can be left in the middle."""

    def __enter__(self) -> object: ...

    def __exit__(self, *exception: object) -> None: ...


class Stop:
    """Has this run been asked to stop, and do all ranks know?"""

    def __init__(self, signals: Signals, ranks: Collectives, device: torch.device) -> None:
        self._signals, self._ranks = signals, ranks
        self._on_cpu = device.type == "cpu"
        self.flags = torch.zeros(2, device=device)  # above 0: some rank was asked to stop; it is time for a checkpoint

    def __enter__(self) -> Self:
        self._signals.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._signals.__exit__(*exception)

    def announce(self, *, save: bool) -> None:
        """Raise this rank's flags: before each step, whose all-reduce carries them to the others, if there are any."""
        if self._ranks.world == 1:
            return
        for flag, raised in zip(self.flags, (self._signals.number is not None, save), strict=True):
            flag.fill_(float(raised))

    def agreed(self, due: Due) -> bool:
        """Is the run to stop? The same answer on all ranks after the same step.

        On GPUs several ranks answer at records and evaluations only: in between the host would wait for the device.
        """
        if self._ranks.world == 1:
            return self._signals.number is not None
        return self._flag(0, due)

    def with_checkpoint(self, due: Due, now: bool) -> Due:
        """What is due and, if it is time `now` by the clock, a checkpoint; on all ranks alike, as `agreed`."""
        save = now if self._ranks.world == 1 else self._flag(1, due)
        return replace(due, save=due.save or save)

    def _flag(self, number: int, due: Due) -> bool:
        return (self._on_cpu or due.record or due.evaluate) and bool(self.flags[number] > 0)

    @property
    def interrupt(self) -> Callable[[], None] | None:
        """What a long step or evaluation calls now and then: raises Stopped if the stop is overdue. None: do not."""
        return self._signals.abort_if_overdue if self._ranks.world == 1 else None

    def wait_for_all(self) -> None:
        """After the checkpoint, which the main rank alone writes: a rank that left before would seem to have failed."""
        if self._ranks.world > 1:
            here = torch.ones((), device=self.flags.device)
            self._ranks.sum_(here)
            here.item()  # a GPU's host waits here

    def stopped(self) -> Stopped:
        """To be raised after the checkpoint. A rank that learned of the stop from its peers takes it for SIGTERM."""
        return Stopped(self._signals.number or signal.SIGTERM)

    def raise_if_late(self) -> None:
        """Raise Stopped if some rank was asked when nothing was left to stop: a sweep may have more jobs.

        To be called on all ranks, after the result is written.
        """
        asked = torch.tensor(float(self._signals.number is not None), device=self.flags.device)
        self._ranks.sum_(asked)
        if asked > 0:
            raise self.stopped()
