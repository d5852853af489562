"""List the images of a folder of class folders, and say what in it is no image."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import UserError

log = logging.getLogger(__name__)
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
PARTS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
SHARES = (0.7, 0.15, 0.15)


@dataclass(frozen=True, slots=True)
class Listing:
    """The images of a folder, sorted by class and name, with stamps that change when a file does."""

    files: list[Path] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    stamps: list[tuple[int, int]] = field(default_factory=list)  # size in bytes, time of the last change in ns


def parts_of(root: Path, *, split: bool) -> dict[str, Listing]:
    """The images of `root`: of train/, test/ and, if it is there, validation/ (or val/, valid/), else all as "all".

    Files and folders whose names begin with a dot are skipped; of other files that are not taken the log has the
    number and kinds. split: whether the images are to be split, whatever the classes are called.

    Raises UserError, naming the folder, for what is missing, empty or does not fit together.
    """
    if not root.is_dir():
        raise UserError(
            f"{root} is not a folder: dataset.path must hold train/<class>/ and test/<class>/, or just <class>/"
        )
    there = {part: [name for name in names if (root / name).is_dir()] for part, names in PARTS.items()}
    whole = bool(there["train"] and there["test"])
    if whole and split:
        raise UserError(f"dataset.split is given, but {root} is split into train/ and test/: leave it out")
    if split or not (there["train"] or there["test"]):
        return {"all": listed(root)}
    if not whole:
        found, lacking = ("train", "test") if there["train"] else ("test", "train")
        raise UserError(
            f"{root} holds {found}/ but no {lacking}/: add it; or split that one, by dataset.path={root / found}; or, "
            f"if {found} is a class, say dataset.split=[0.7,0.15,0.15]"
        )
    if len(there["validation"]) > 1:
        raise UserError(f"{root} holds {' and '.join(there['validation'])}: leave one folder of validation images")
    listings = {part: listed(root / names[0]) for part, names in there.items() if names}
    known = listings["train"].classes
    for part, listing in listings.items():
        if unknown := sorted(set(listing.classes) - set(known)):
            folders = f"{root / there[part][0] / unknown[0]} is a class"
            if len(unknown) > 1:
                folders = f"{root / there[part][0]} holds {named(unknown)}, classes"
            raise UserError(f"{folders} that {root / 'train'} lacks: remove it or add training images")
    return listings


def is_image(name: str) -> bool:
    """Is a file of this name taken for an image?"""
    return name.lower().endswith(EXTENSIONS)


def listed(folder: Path) -> Listing:
    """The images in `folder`/<class>/. Raises UserError if there are no such folders, or one of them has no images."""
    entries = _entries(folder)
    listing = Listing(classes=[entry.name for entry in entries if entry.is_dir()])
    if not listing.classes:
        raise UserError(f"{folder} holds no class folders: images belong into {folder}/<class>/")
    others = [entry for entry in entries if not entry.is_dir()]
    for label, name in enumerate(listing.classes):
        images: list[os.DirEntry[str]] = []
        rest: list[os.DirEntry[str]] = []
        for entry in _entries(folder / name):
            (images if entry.is_file() and is_image(entry.name) else rest).append(entry)
        if not images:
            instead = f" ({_kinds(rest)})" if rest else ""
            raise UserError(
                f"{folder / name} holds no {', '.join(EXTENSIONS)} images{instead}: add some or remove the folder"
            )
        others += rest
        for entry in images:
            found = entry.stat()
            listing.files.append(Path(entry.path))
            listing.labels.append(label)
            listing.stamps.append((found.st_size, found.st_mtime_ns))
    if others:
        log.warning(
            "%s: %s not taken, as %s; taken are %s files in class folders",
            folder, _kinds(others), Path(others[0].path).relative_to(folder), ", ".join(EXTENSIONS),
        )  # fmt: skip
    return listing


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is not hidden, sorted by name."""
    return sorted((entry for entry in os.scandir(folder) if not entry.name.startswith(".")), key=lambda e: e.name)


def named(names: Iterable[str], most: int = 5) -> str:
    """ "a, b, c and 4 more"."""
    given = list(names)
    more = f" and {len(given) - most} more" if len(given) > most else ""
    return ", ".join(given[:most]) + more


def _kinds(entries: Iterable[os.DirEntry[str]]) -> str:
    """ "10 .gif, 2 folders"."""
    kinds = Counter("folder" if e.is_dir() else Path(e.name).suffix.lower() or "without an ending" for e in entries)
    return ", ".join(f"{n} {kind}{'s' * (kind == 'folder' and n > 1)}" for kind, n in kinds.most_common())
