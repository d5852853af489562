"""`deeprelax COMMAND ...`: finds the command, runs it, turns a user's mistake into one sentence."""

from __future__ import annotations

import importlib
import logging
import os
import shlex
import signal
import sys
import threading
from types import FrameType
from typing import Any, TextIO

from . import __version__
from .errors import UserError, did_you_mean

# name: (module with a function main(arguments), one line)
COMMANDS = {
    "train": ("deeprelax.commands.train", "train a network, or sweep over many with -m"),
    "runs": ("deeprelax.commands.runs", "list the runs with their state and error"),
    "compare": ("deeprelax.commands.compare", "compare groups of runs: table, differences from SGD, curves"),
    "data": ("deeprelax.commands.data", "list the data sets, or fetch one"),
    "bench": ("deeprelax.commands.bench", "measure what an optimizer step costs over its gradient evaluations"),
    "pde": ("deeprelax.commands.pde", "solve the equations, draw them, verify the paper's claims"),
    "evaluate": ("deeprelax.commands.evaluate", "evaluate a finished run again from its checkpoint"),
}


def overview() -> str:
    lines = [f"  {name:<10} {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            f"deeprelax {__version__}: train deep networks by descending a relaxed loss",
            "",
            "Usage: deeprelax COMMAND [KEY=VALUE ...]",
            "",
            *lines,
            "",
            "deeprelax COMMAND --help says more. For example: deeprelax train optimizer=entropy_sgd",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 for a mistake of the user's, 130 for Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"deeprelax {__version__}")
        return 0
    command, rest = arguments[0], arguments[1:]
    if command not in COMMANDS:
        print(
            f"deeprelax: {command} is not a command{did_you_mean(command, COMMANDS)}\n\n{overview()}", file=sys.stderr
        )
        return 1
    console, root = Console(sys.stdout), logging.getLogger()
    root.addHandler(console)
    root.setLevel(logging.INFO)
    handlers = stop_by_signals() if command == "train" else {}
    try:
        importlib.import_module(COMMANDS[command][0]).main(rest)
    except UserError as error:
        forced = " (without force=true, which starts anew)" if "the same command" in str(error) and force(rest) else ""
        print(f"deeprelax: {error}{forced}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, head perhaps, has seen enough
        sys.stdout = None
        return 1
    except OSError as error:
        print(f"deeprelax: {error.filename or 'the system'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except SystemExit as stop:  # Hydra's --help, and options that it does not know
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt as stop:
        again = shlex.join(["deeprelax", *(word for word in arguments if word not in force(rest))])
        print(f"deeprelax: {str(stop) or 'interrupted'}; to go on: {again}", file=sys.stderr)
        return getattr(stop, "status", 130)
    finally:
        root.removeHandler(console)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return 0


class Console(logging.StreamHandler[TextIO]):
    """Lines for whoever looks; that nobody does any more, as behind `| head`, is no reason to end a run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)


def stop_by_signals() -> dict[signal.Signals, Any]:
    """Outside the training loop, which has ways of its own, SIGTERM and SIGUSR1 end a command as Ctrl-C does.

    Returns the handlers that were there before.
    """
    from .errors import Stopped

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():  # Python allows handlers nowhere else
        return {}
    return {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGUSR1)}


def force(arguments: list[str]) -> list[str]:
    """The words that start a run anew: with them a command does not go on."""
    return [word for word in arguments if word.lstrip("+").partition("=")[0] == "force"]


if __name__ == "__main__":
    sys.exit(main())
