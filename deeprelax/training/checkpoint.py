"""One file from which a run goes on: tensors and plain types only."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..files import replace

FORMAT = 1


def save(path: Path, content: dict[str, Any]) -> None:
    """Replace the file, atomically."""
    replace(path, lambda file: torch.save({"format": FORMAT, **content}, file))


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What `save` was given. Runs no code from the file. Raises UserError if it is not a whole checkpoint of ours."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path} is not there: is this the directory of a run that has reached a checkpoint?") from None
    except (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError(f"{path} is not a whole checkpoint ({error}): delete it and start again") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this version of deeprelax (format {FORMAT})")
    return content
