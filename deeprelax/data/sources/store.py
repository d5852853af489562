"""Where data sets lie on disk, and how they get there: whole, by one process at a time."""

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


def fetch(data_dir: Path, wanted: list[Path], download: Callable[[Path], None], advice: str) -> None:
    """Make the `wanted` files or folders (relative to data_dir) that are missing.

    `download(folder)` lays them out in an empty folder; then each is moved to its place whole. Raises UserError with
    the reason and the advice if that fails; nothing half-written stays.
    """
    missing = [path for path in wanted if not (data_dir / path).exists()]
    if not missing:
        return
    try:
        with exclusive(data_dir):
            missing = [
                path for path in missing if not (data_dir / path).exists()
            ]  # another process may have been faster
            if missing:
                with tempfile.TemporaryDirectory(dir=data_dir) as temporary:
                    download(Path(temporary))
                    for path in missing:
                        (data_dir / path).parent.mkdir(parents=True, exist_ok=True)
                        (Path(temporary) / path).rename(data_dir / path)
    except (OSError, RuntimeError, HTTPException, EOFError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        place = data_dir / missing[0]
        raise UserError(f"{place} is missing and could not be downloaded ({reason}): {advice}") from None
