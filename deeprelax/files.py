"""Write files atomically, and hold locks that the system frees when their process is killed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import UserError

LOCK = ".lock"  # in the folder that is held


def replace(path: Path, write: Callable[[IO[bytes]], None], keep: Path | None = None) -> None:
    """Write `path` atomically: a reader sees the complete old file or the complete new one, even after a power cut.

    write: writes the content to the open binary file that it is given. keep: where the old file is backed up; between
    the two renames the backup is the only one there. Raises OSError, naming `path`, if it cannot be written, as on a
    full disk; the old file then stays.
    """
    beside = path.with_name(path.name + ".new")
    try:
        with beside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())  # before the rename, which may reach the disk earlier than the content
        if keep is not None and path.exists():
            path.replace(keep)
        beside.replace(path)
        _flush_folder(path.parent)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        # On a full disk torch.save raises a RuntimeError of its own while it closes its archive; the OSError that says
        # why is the context of that. OSErrors name `path`, not the temporary file, which is gone.
        cause = error if isinstance(error, OSError) else error.__context__
        if isinstance(cause, OSError):
            raise OSError(cause.errno, cause.strerror or str(cause), str(path)) from None
        raise


def _flush_folder(folder: Path) -> None:
    """Flush the folder's entries, so that the rename survives a power cut, where the file system supports that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_text(path: Path, text: str) -> None:
    """Write text atomically, in UTF-8. Raises as `replace`."""

    def write(file: IO[bytes]) -> None:
        file.write(text.encode())

    replace(path, write)


def write_json(path: Path, value: Any) -> None:
    """Write a value atomically as JSON. Raises as `replace`."""
    replace_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path, numbers: Collection[str] = (), scores: Collection[str] = ()) -> dict[str, Any]:
    """Read a dictionary that `write_json` wrote.

    Raises UserError, naming the file, if it is corrupt, if a key of `numbers` holds no finite number, or one of
    `scores` no number at all.
    """
    try:
        value = json.loads(path.read_bytes())
    except ValueError:
        value = None
    valid = isinstance(value, dict) and all(isinstance(value.get(key), int | float) for key in (*numbers, *scores))
    if not valid or not all(math.isfinite(value[key]) for key in numbers):
        raise corrupt(path)
    return value  # type: ignore[no-any-return]


def corrupt(path: Path) -> UserError:
    """What is raised for a file of a run that is corrupt, and that its command can make again."""
    return UserError(f"{path} is corrupt: delete it, and the run's own command writes it again")


def file_error(error: OSError, directory: Path) -> UserError:
    """The UserError for a file error of a run in `directory`: the file, the system's reason, and that it can resume."""
    reason = f"{error.filename or directory}: {error.strerror or error}"
    return UserError(f"{reason}. What was written before is whole: mend it, and the same command resumes", resumes=True)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder, which is created if it is missing, for this process; other processes wait for it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_held(directory: Path) -> bool:
    """Whether a process holds the run directory as its `sole_writer`. Creates no file."""
    try:
        with (directory / LOCK).open("r") as lock:
            # shared: several readers may ask at once, and none takes another for the writer
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def sole_writer(directory: Path) -> Iterator[None]:
    """Hold the run directory for this process. Raises UserError, naming the holder, if another process has it."""
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            # "a+": the file must not be truncated before it is locked, for it holds the name of the holder
            lock = stack.enter_context((directory / LOCK).open("a+"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is(lock, directory / LOCK):
                    break
            except BlockingIOError:  # perhaps by `is_held` of another process, which locks for a moment only: retry
                time.sleep(0.01)
        else:
            lock.seek(0)
            raise UserError(f"{directory} is being written by process {lock.read().strip()}: wait for it")
        lock.truncate(0)
        lock.write(f"{os.getpid()} on {os.uname().nodename}")
        lock.flush()
        yield


def _is(file: IO[Any], path: Path) -> bool:
    """Whether the open file is still the one at `path`: whoever held the lock before may have deleted it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def remove_empty(directory: Path, above: Path) -> None:
    """Remove a directory and its parents inside `above`, as far as they are empty."""
    while directory.is_relative_to(above) and directory != above:
        try:
            directory.rmdir()
        except OSError:  # not empty, so it holds an earlier run or other files
            return
        directory = directory.parent


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """{"optimizer": {"lr": 0.1}} to {"optimizer.lr": 0.1}."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result
