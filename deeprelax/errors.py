"""Define the exceptions that end a command with a message instead of a traceback: user errors and signals."""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake of the user's; the command line prints the message and exits with status 1.

    message: names the key or file, its value, what is allowed, and what to do.
    resumes: the message advises to repeat the command, which then resumes. The command line adds that force=true, if
    it was given, must be dropped for that: it would restart.
    """

    def __init__(self, message: str, *, resumes: bool = False) -> None:
        super().__init__(message)
        self.resumes = resumes


class Stopped(KeyboardInterrupt):
    """The run was asked to stop and has saved a checkpoint. Like Ctrl-C it ends a whole sweep.

    status: 128 + the number of the signal, what the command line exits with.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.status = 128 + number


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ " (did you mean ...?)" with the known name nearest to `name`, or "" if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
