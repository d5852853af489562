"""Where data sets lie on disk, one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def data_folder(data_dir: str | None) -> Path:
    """The folder of the data sets: `data_dir`, else $DEEPRELAX_DATA, else the user's cache."""
    if data_dir is not None:
        return Path(data_dir).expanduser().absolute()
    if "DEEPRELAX_DATA" in os.environ:
        return Path(os.environ["DEEPRELAX_DATA"]).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "deeprelax"


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder (made if need be) for this process; others wait. Freed even if the process is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".deeprelax.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
