"""What ends a command with a message instead of a traceback: a mistake of the user's, or a signal."""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable


class UserError(ValueError):
    """One clear sentence: key or file, value, what is allowed, what to do. The command line exits with status 1."""


class Stopped(KeyboardInterrupt):
    """The run was asked to stop and has left a checkpoint. Like Ctrl-C it ends a whole sweep.

    status: 128 + the number of the signal, what the command line exits with.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.status = 128 + number


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """', did you mean ...?' with the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
