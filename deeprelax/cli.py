"""Run `deeprelax COMMAND ...`: find the command, call it, turn errors into one-line messages and exit statuses."""

from __future__ import annotations

import importlib
import logging
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn, TextIO

from . import __version__
from .errors import LeftAlone, OwnCodeError, Stopped, UserError, did_you_mean, forget_own_code, trim

# name: (module with a function main(arguments), one line)
COMMANDS = {
    "train": ("deeprelax.commands.train", "train a network, or sweep over many with -m"),
    "find-lr": ("deeprelax.commands.find_lr", "find how large a learning rate may be, before training"),
    "runs": ("deeprelax.commands.runs", "list the runs with their state and score, delete failed ones"),
    "compare": ("deeprelax.commands.compare", "compare groups of runs: table, differences from SGD, curves"),
    "tasks": ("deeprelax.commands.tasks", "list what can be learned, with networks, scores and experiments"),
    "data": ("deeprelax.commands.data", "list the data sets, fetch one, delete decoded images"),
    "bench": ("deeprelax.commands.bench", "measure what an optimizer step costs over its gradient evaluations"),
    "pde": ("deeprelax.commands.pde", "solve the equations, draw them, verify the paper's claims"),
    "evaluate": ("deeprelax.commands.evaluate", "evaluate a finished run again from its checkpoint"),
    "flatness": ("deeprelax.commands.flatness", "measure how flat the loss is at the weights of runs"),
    "landscape": ("deeprelax.commands.landscape", "draw the loss around a run's weights, or between runs"),
    "predict": ("deeprelax.commands.predict", "say what a run's network sees on image files"),
    "export": ("deeprelax.commands.export", "write a run's network to a file for torch.export or ONNX"),
    "sample": ("deeprelax.commands.sample", "print text that a run of task=tokens has learned to write"),
}


def overview() -> str:
    """The text of `deeprelax --help`: the commands with one line each."""
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
            'eval "$(deeprelax --shell-completion install=bash)" lets the tab key complete commands and keys',
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Run a command with `arguments`, by default sys.argv's.

    Returns the exit status: 0; 1 for a user error, a file error or a closed output; 2 where Hydra refuses its flags;
    130 for Ctrl-C, 128 + n for signal n. A bug of ours is raised, with its traceback; of an error in a class
    of the user's the traceback is printed from her file on, and the status is 1.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    forget_own_code()  # of a command before this one, in the same process
    if (status := _without_command(arguments)) is not None:
        return status
    command, *rest = arguments
    console, root = Console(sys.stdout), logging.getLogger()
    root.addHandler(console)
    root.setLevel(logging.INFO)
    # `train` alone: the other commands leave nothing to resume, and the default handlers end them at once
    handlers = stop_by_signals() if command == "train" else {}
    try:
        return _status(lambda: importlib.import_module(COMMANDS[command][0]).main(rest), arguments)
    except LeftAlone as left:
        _end_alone(left, arguments)
    finally:
        root.removeHandler(console)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _status(work: Callable[[], object], arguments: list[str]) -> int:
    """The exit status of a command's work, with a message for the errors that have one."""
    try:
        work()
    except UserError as error:
        hint = " (without force=true, which starts again)" if error.resumes and force_arguments(arguments[1:]) else ""
        print(f"deeprelax: {error}{hint}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # an OSError, so before it: the reader, `| head` perhaps, has closed the pipe
        sys.stdout = None  # else the interpreter flushes it at exit, and complains of the same pipe once more
        return 1
    except OSError as error:
        print(f"deeprelax: {error.filename or 'the system'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except SystemExit as stop:  # Hydra's --help, and options that it does not know
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt as stop:
        # force=true in the printed command would restart the run instead of resuming it
        resume = shlex.join(["deeprelax", *(each for each in arguments if each not in force_arguments(arguments[1:]))])
        print(f"deeprelax: {str(stop) or 'interrupted'}; to resume: {resume}", file=sys.stderr)
        return getattr(stop, "status", 130)
    except Exception as error:
        if not trim(error):
            raise
        own = [str(error)] if isinstance(error, OwnCodeError) else traceback.format_exception(error)
        print("".join(own).rstrip(), file=sys.stderr)
        return 1
    return 0


def _end_alone(left: LeftAlone, arguments: list[str]) -> NoReturn:
    """End the process at once: the end of the interpreter would wait for the other ranks."""

    def again() -> None:
        raise left.error

    try:
        status = _status(again, arguments)
    except Exception:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(status)


def _without_command(arguments: list[str]) -> int | None:
    """Do what needs no command to run, and return the exit status; None if there is a command to run.

    Version and completion are asked for behind a command too, where Hydra would print its own.
    """
    command = arguments[0] if arguments else "help"
    if command in ("-h", "--help", "help"):
        print(overview())
        return 0
    asked = set(arguments if command in COMMANDS else [command])
    if {"-V", "--version"} & asked:
        print(f"deeprelax {__version__}")
        return 0
    if {"-sc", "--shell-completion"} & asked:
        from . import completion  # imports Hydra

        return completion.main(arguments, COMMANDS)
    if command in COMMANDS:
        return None
    print(f"deeprelax: {command} is not a command{did_you_mean(command, COMMANDS)}\n\n{overview()}", file=sys.stderr)
    return 1


class Console(logging.StreamHandler[TextIO]):
    """Print log lines; once the stream cannot be written, as behind `| head`, discard them; the run continues."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)  # a bug in a logging call: reported with its traceback
            return
        # The descriptor itself is redirected, so that print and the flush at exit do not fail either
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)


def stop_by_signals() -> dict[signal.Signals, Any]:
    """Let SIGTERM and SIGUSR1 end a command as Ctrl-C does, by raising Stopped.

    For the time outside the training loop, such as imports and loading: the loop installs handlers of its own, which
    wait for the end of a step, and puts these back. Returns the previous handlers, for main to restore.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():  # Python refuses handlers elsewhere
        return {}
    return {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGUSR1)}


def force_arguments(arguments: list[str]) -> list[str]:
    """The arguments that set `force`, with which a command restarts a run instead of resuming it."""
    return [each for each in arguments if each.lstrip("+").partition("=")[0] == "force"]


if __name__ == "__main__":
    sys.exit(main())
