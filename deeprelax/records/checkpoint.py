"""One file from which a run resumes: tensors and plain types only."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn

from ..errors import UserError
from ..files import replace
from .directory import BEST, CORRUPT, PREVIOUS, PREVIOUS_BEST
from .directory import CHECKPOINT as NAME

FORMAT = 6  # one more when what is stored changes, or the random numbers that go with its counters
SEAL, DIGEST = b"deeprelax", 32  # what a file ends with: these bytes, and a digest of so many
log = logging.getLogger(__name__)


def save(directory: Path, content: dict[str, Any]) -> None:
    """Write the run's checkpoint, complete or not at all; the one before it is kept.

    A digest of its bytes ends the file. (torch's file is a zip archive, whose checksums are not of every byte: with one
    bit flipped among its names, torch.load returns memory that was never written.)
    """
    _write(directory / NAME, content, directory / PREVIOUS)


def _write(path: Path, content: dict[str, Any], keep: Path) -> None:
    body = io.BytesIO()
    torch.save({"format": FORMAT, **content}, body)

    def write(file: IO[bytes]) -> None:
        file.write(body.getbuffer())
        file.write(_seal(body.getbuffer()))

    replace(path, write, keep)


def _seal(body: bytes | memoryview) -> bytes:
    return SEAL + hashlib.blake2b(body, digest_size=DIGEST).digest()


def is_ours(path: Path) -> bool:
    """Does the file end as those that `save` writes?"""
    return path.read_bytes()[-len(SEAL) - DIGEST :].startswith(SEAL)


def latest(directory: Path, *, rename_corrupt: bool = False) -> dict[str, Any] | None:
    """The run's last valid checkpoint; None if it has reached none. Raises UserError if all are corrupt.

    With `rename_corrupt` a corrupt one is renamed, so that the next to be saved does not replace the valid one.
    """
    problems: list[str] = []
    for path in (directory / NAME, directory / PREVIOUS):
        if not path.exists():
            continue
        try:
            content = load(path)
        except UserError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            log.warning("%s; resuming from %s", problem, path.name)
        if problems and rename_corrupt:
            (directory / NAME).replace(directory / CORRUPT)
        return content
    if problems:
        raise UserError("; ".join(problems))
    return None


def save_best(directory: Path, model: nn.Module, evaluations: int) -> None:
    """Write the weights of the best evaluation, made after so many gradient evaluations; those before it are kept.

    To be called before the checkpoint that refers to them: the one on the disk refers to those before.
    """
    content = {"model": model.state_dict(), "evaluations": evaluations}
    _write(directory / BEST, content, directory / PREVIOUS_BEST)


def kept_best(directory: Path) -> dict[int, tuple[Path, dict[str, Any]]]:
    """The valid files of `save_best` with their content, by the number of gradient evaluations."""
    found = {}
    for path in (directory / PREVIOUS_BEST, directory / BEST):
        with contextlib.suppress(UserError):
            content = load(path)
            found[content["evaluations"]] = (path, content)
    return found


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What `save` was given. Runs no code from the file. Raises UserError if it is not a valid checkpoint of ours."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is not there: is this the directory of a run that has reached a checkpoint?") from None
    body = memoryview(content)[: -len(SEAL) - DIGEST]
    if content[len(body) :] != _seal(body):
        raise UserError(f"{path} is not a whole checkpoint of this version of deeprelax: delete it and start again")
    stored: dict[str, Any] = torch.load(io.BytesIO(body), map_location=device, weights_only=True)
    if stored["format"] != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this version of deeprelax (format {FORMAT})")
    return stored
