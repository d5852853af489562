"""Run `deeprelax data`: list the data sets, fetch and check some, or empty the cache of decoded images."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from ..configuration.registry import REGISTRY, call
from ..data.sources.catalog import CATALOG
from ..data.sources.store import data_folder, image_cache
from ..errors import UserError, did_you_mean
from ..files import exclusive
from ..tables import aligned
from .arguments import Parser, confirmed

OURS = re.compile(r"[0-9a-f]{16}\.pt(\.new)?")  # names of what `image_folder` writes
ABOUT = """data_dir=DIR: where they lie, by default $DEEPRELAX_DATA, else ~/.cache/deeprelax.

Images of dataset=image_folder are decoded once, into DIR/image_folder: a byte for each pixel and channel."""


def parser() -> Parser:
    """The parser of the command's arguments."""
    made = Parser(
        prog="deeprelax data",
        usage="deeprelax data [NAME ...] [data_dir=DIR] [--clean [--yes]]",
        description="List the data sets, or fetch one.",
        epilog=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("words", nargs="*", metavar="NAME", help="fetch these, unless they are there, and check them")
    made.add_argument("--clean", action="store_true", help="delete the decoded images, after asking; no original is")
    made.add_argument("--yes", action="store_true", help="with --clean: do not ask")
    return made


def main(arguments: list[str]) -> None:
    """List the data sets, fetch those that are named, or delete the decoded images. Raises UserError."""
    options = parser().parse_args(arguments)
    given = [each.removeprefix("data_dir=") for each in options.words if each.startswith("data_dir=")]
    names = [each for each in options.words if not each.startswith("data_dir=")]
    if options.clean and names:
        raise UserError(f"--clean deletes the decoded images alone, and takes no name of a data set ({names[0]})")
    if options.yes and not options.clean:
        raise UserError("--yes goes with --clean: nothing else asks")
    if options.clean:
        clean(data_folder(given[-1] if given else None), ask=not options.yes)
        return
    if "image_folder" in names:
        raise UserError("image_folder is not fetched: it is your own folder, dataset.path of deeprelax train")
    for name in names:
        if name not in CATALOG:
            raise UserError(f"{name} is not a data set{did_you_mean(name, CATALOG)}: one of {', '.join(CATALOG)}")
    folder = data_folder(given[-1] if given else None)
    for name in names:
        data = call("dataset", name, folder)
        print(f"{name}: {len(data.train)} + {len(data.test)} images in {len(data.classes)} classes, whole")
    if not names:
        print(listing(given[-1] if given else None))


def clean(data_dir: Path, *, ask: bool) -> None:
    """Delete the cache of decoded images, if the answer is yes. Raises UserError where nobody can answer."""
    folder = image_cache(data_dir)
    if not decoded(folder):
        print(f"no decoded images in {folder}")
        return
    print(cached(folder))
    if ask and not confirmed("Delete them? The next run of each folder decodes its images again."):
        print("nothing is deleted")
        return
    with exclusive(folder):  # a run that decodes just now holds it
        for file in decoded(folder):
            file.unlink()
    print("deleted")


def decoded(folder: Path) -> list[Path]:
    """The files of the cache, those that a killed process has left half-written among them."""
    return sorted(file for file in folder.glob("*.pt*") if OURS.fullmatch(file.name))


def cached(folder: Path) -> str:
    """How much lies in the cache, and where."""
    sizes = [file.stat().st_size for file in decoded(folder)]
    return f"decoded images: {len(sizes)} file{'s' * (len(sizes) != 1)}, {sum(sizes) / 1e6:.1f} MB in {folder}"


def listing(data_dir: str | None) -> str:
    """The table that the command prints: a line for each data set with its size, classes, state and folder."""
    folder = data_folder(data_dir)
    rows = [("name", "train + test", "images", "classes", "state", "where")]
    for name, entry in CATALOG.items():
        if not entry.folder:
            state, where = "embedded", "in scikit-learn"
        else:
            state = "there" if entry.present(folder) else f"{entry.megabytes} MB to download"
            where = str(folder / entry.folder)
        rows.append((name, f"{entry.train} + {entry.test}", entry.shape, str(entry.classes), state, where))
    assert set(CATALOG) | {"image_folder"} == set(REGISTRY["dataset"])
    own = "dataset.path=FOLDER with train/<class>/ and test/<class>/, or <class>/"
    rows.append(("image_folder", "your own", "jpg, png, ...", "", "", own))
    lines = aligned(rows, "<" * len(rows[0]))
    if decoded(cache := image_cache(folder)):
        lines.append(f"{cached(cache)} (--clean deletes them)")
    return "\n".join(lines)
