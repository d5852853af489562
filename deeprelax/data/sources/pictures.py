"""Find picture files that a network is to be asked about, and read them as its images."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...errors import UserError
from .image_folder import read_image
from .listing import is_image

log = logging.getLogger(__name__)
CHUNK = 256  # pictures in memory


@dataclass(frozen=True, slots=True)
class Pictures:
    """Files, and the classes that they are known to show: int64 (files,), or None."""

    files: list[Path]
    labels: Tensor | None = None

    def chunks(self, size: int, channels: int) -> Iterator[Tensor]:
        """The pictures in order, uint8 (at most CHUNK, channels, size, size). Raises UserError for a corrupt one."""
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(self.files), CHUNK):
                part = self.files[start : start + CHUNK]
                yield torch.stack(list(pool.map(lambda file: read_image(file, size, channels), part)))


def find(paths: Sequence[Path], classes: Sequence[str]) -> Pictures:
    """The files among the paths, and all images below the folders among them; hidden ones are skipped.

    One folder whose sub-folders are called as `classes` is labelled; so is the folder test/ in it, where it has none
    itself. Raises UserError for what is not there, for a folder without images, and where a labelled folder has another
    sub-folder.
    """
    if len(paths) == 1 and (folder := labelled_folder(paths[0], classes)) is not None:
        return labelled(folder, classes)
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = _below(path)
            if not found:
                raise UserError(f"{path} holds no images: give files, or a folder of them")
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise UserError(f"{path} is not there: give image files, or a folder of them")
    return Pictures(files)


def labelled_folder(path: Path, classes: Sequence[str]) -> Path | None:
    """The folder itself or its test/, whichever has a sub-folder called as one of the classes; else None."""
    return next((each for each in (path, path / "test") if set(_folders(each)) & set(classes)), None)


def labelled(folder: Path, classes: Sequence[str]) -> Pictures:
    """The images in `folder`/<class>/. Raises UserError if there are none, and for a sub-folder that is no class."""
    there = _folders(folder)
    if unknown := [name for name in there if name not in classes]:
        raise UserError(
            f"{folder / unknown[0]} is no class of this run ({', '.join(classes)}): rename it, move it away, or give "
            "the files themselves"
        )
    if loose := [entry.name for entry in os.scandir(folder) if entry.is_file() and is_image(entry.name)]:
        log.warning("%s holds images beside its class folders, as %s: skipped", folder, sorted(loose)[0])
    found = [(file, classes.index(name)) for name in there for file in _below(folder / name)]
    if not found:
        raise UserError(f"{folder} holds no images in its class folders: add some")
    return Pictures([file for file, _ in found], torch.tensor([label for _, label in found]))


def _folders(path: Path) -> list[str]:
    if not path.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith("."))


def _below(folder: Path) -> list[Path]:
    """All images below a folder, sorted by their paths."""
    found: list[Path] = []
    for path, below, names in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        found += [Path(path) / name for name in names if is_image(name) and not name.startswith(".")]
    return sorted(found)
