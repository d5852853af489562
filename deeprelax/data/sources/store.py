"""Locate the data folder, and download missing files into it: completely or not at all, one process at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from ...errors import UserError
from ...files import exclusive


def data_folder(data_dir: str | None) -> Path:
    """The folder of the data sets: `data_dir`, else $DEEPRELAX_DATA, else the user's cache."""
    if data_dir is not None:
        return Path(data_dir).expanduser().absolute()
    if "DEEPRELAX_DATA" in os.environ:
        return Path(os.environ["DEEPRELAX_DATA"]).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "deeprelax"


def image_cache(data_dir: Path) -> Path:
    """The folder of the decoded images of users' own folders, one file each, a byte for each pixel and channel."""
    return data_dir / "image_folder"


def fetch(data_dir: Path, wanted: list[Path], download: Callable[[Path], None], advice: str) -> None:
    """Download those of the `wanted` files or folders (relative to data_dir) that are missing.

    download: writes them into the empty folder that it is given, from where each is renamed to its place when all are
    complete. Raises UserError with the reason and the `advice` if that fails; nothing half-written is left.
    """
    missing = [path for path in wanted if not (data_dir / path).exists()]
    if not missing:
        return
    try:
        with exclusive(data_dir):
            # asked again: another process may have downloaded them while this one waited for the lock
            missing = [path for path in missing if not (data_dir / path).exists()]
            if missing:
                with tempfile.TemporaryDirectory(dir=data_dir) as temporary:  # there, for a rename within one disk
                    download(Path(temporary))
                    for path in missing:
                        (data_dir / path).parent.mkdir(parents=True, exist_ok=True)
                        (Path(temporary) / path).rename(data_dir / path)
    except (OSError, RuntimeError, HTTPException, EOFError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        file = data_dir / missing[0]
        raise UserError(f"{file} is missing and could not be downloaded ({reason}): {advice}") from None
