"""One file from which a run goes on: tensors and plain types only."""

from __future__ import annotations

import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..files import replace

FORMAT = 3  # one more when what is stored changes, or the random numbers that go with its counters
NAME, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
log = logging.getLogger(__name__)


def save(directory: Path, content: dict[str, Any]) -> None:
    """Write the run's checkpoint, whole or not at all; the one before it is kept."""
    replace(directory / NAME, lambda file: torch.save({"format": FORMAT, **content}, file), directory / PREVIOUS)


def latest(directory: Path) -> dict[str, Any] | None:
    """The run's last whole checkpoint; None if it has reached none. Raises UserError if all are damaged."""
    problems: list[UserError] = []
    for path in (directory / NAME, directory / PREVIOUS):
        if not path.exists():
            continue
        try:
            content = load(path)
        except UserError as error:
            problems.append(error)
            continue
        for problem in problems:
            log.warning("%s; going on from %s", problem, path.name)
        return content
    for problem in problems:
        raise problem
    return None


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
