"""Note the signals that ask a run to stop; the loop obeys them (training/stop.py)."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

from ..errors import Stopped

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # Slurm can send the last one before it takes the machine
PATIENCE = 5.0  # seconds that a step or an evaluation may take after the signal


class Requests:
    """Within the `with`, the first signal is noted; the second one ends the process at once."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._since = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Requests:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._before = {number: signal.signal(number, self._note) for number in STOPPING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            os._exit(128 + number)
        self.number, self._since = number, time.monotonic()

    def abort_if_overdue(self) -> None:
        """Raise Stopped if a stop is overdue: for work that can be left in the middle."""
        if self.overdue:
            raise Stopped(self.number or 0)

    @property
    def overdue(self) -> bool:
        """Was a stop asked for longer ago than a step may take?"""
        return self.number is not None and time.monotonic() - self._since > PATIENCE
