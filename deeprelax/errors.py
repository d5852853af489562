"""Define the exceptions that end a command with a message instead of a traceback, and where other tracebacks begin."""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable
from types import TracebackType


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


class PeersLostError(UserError):
    """The other ranks of the run are gone: what went wrong is told by one of them."""


class LeftAlone(BaseException):
    """This rank has ended with `error` where its peers have not.

    The process must end at once, without a call in which it would wait for them, and no further job may begin.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


class OwnCodeError(RuntimeError):
    """An error in a class of the user's, in another process; the message is its traceback, as `trim` leaves it."""


_own: set[str] = set()  # the packages, or single modules, of the user's classes


def own_code(module: str) -> None:
    """Note that this module has a class of the user's, given as `package.module:Name`, before it is imported."""
    _own.update({module.partition(".")[0]} - {__package__})


def forget_own_code() -> None:
    """No module has a class of the user's any more."""
    _own.clear()


def trim(error: BaseException) -> bool:
    """Let the traceback begin at the first frame in the user's code, if it has one; what is above is not hers.

    The errors that it was raised from, or while handling, are cut in the same way. Returns whether the error is in the
    user's code.
    """
    for above in {error.__cause__, error.__context__} - {None}:  # one and the same after `raise from`
        assert above is not None
        trim(above)
    first: TracebackType | None = error.__traceback__
    while first is not None and first.tb_frame.f_globals.get("__name__", "").partition(".")[0] not in _own:
        first = first.tb_next
    unread = isinstance(error, SyntaxError) and bool(_own)  # of her file, which has no frame yet, but is named
    if first is not None or unread:
        error.__traceback__ = first
    return first is not None or unread or isinstance(error, OwnCodeError)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ " (did you mean ...?)" with the known name nearest to `name`, or "" if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
