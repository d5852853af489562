"""Files that are whole or not there, and locks that a killed process frees."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import UserError


def replace(path: Path, write: Callable[[IO[bytes]], None], keep: Path | None = None) -> None:
    """Write beside the file, flush to the disk, rename: a reader sees the old file or the new one, whole.

    The old file is kept as `keep`, if given; for a moment it is there alone. Raises OSError, naming the file, if the
    disk is full or will not have it; the old file then stays.
    """
    beside = path.with_name(path.name + ".new")
    try:
        with beside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            path.replace(keep)
        beside.replace(path)
        _flush_folder(path.parent)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        cause = error if isinstance(error, OSError) else error.__context__  # torch.save speaks of its own trouble then
        if isinstance(cause, OSError):
            raise OSError(cause.errno, cause.strerror or str(cause), str(path)) from None
        raise


def _flush_folder(folder: Path) -> None:
    """The names too are on the disk afterwards, where the file system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_text(path: Path, text: str) -> None:
    """`replace` for text."""

    def write(file: IO[bytes]) -> None:
        file.write(text.encode())

    replace(path, write)


def write_json(path: Path, value: Any) -> None:
    """`replace` for what json can write."""
    replace_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path, numbers: Iterable[str] = ()) -> dict[str, Any]:
    """What `write_json` wrote of a dictionary. Raises UserError if that is damaged, or these keys hold no numbers."""
    try:
        value = json.loads(path.read_bytes())
    except ValueError:
        value = None
    whole = isinstance(value, dict) and all(
        isinstance(value.get(key), int | float) and math.isfinite(value[key]) for key in numbers
    )
    if not whole:
        raise UserError(f"{path} is damaged: delete it, and the run's own command writes it again")
    return value  # type: ignore[no-any-return]


def sentence(error: OSError, directory: Path) -> UserError:
    """What to tell the user of a run in this directory about trouble with a file."""
    reason = f"{error.filename or directory}: {error.strerror or error}"
    return UserError(f"{reason}. What was written before is whole: mend it, and the same command goes on")


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder (made if need be) for this process; others wait."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_held(directory: Path) -> bool:
    """Does a process hold the run directory?"""
    try:
        with (directory / ".lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def sole_writer(directory: Path) -> Iterator[None]:
    """Hold the run directory for this process. Raises UserError, naming the holder, if another process has it."""
    with (directory / ".lock").open("a+") as lock:
        for _ in range(20):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # perhaps held for a moment by somebody who looks, with `is_held`
                time.sleep(0.01)
        else:
            lock.seek(0)
            raise UserError(f"{directory} is being written by process {lock.read().strip()}: wait for it")
        lock.truncate(0)
        lock.write(f"{os.getpid()} on {os.uname().nodename}")
        lock.flush()
        yield


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """{"optimizer": {"lr": 0.1}} to {"optimizer.lr": 0.1}."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result
