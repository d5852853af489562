"""Run `deeprelax data`: list the data sets, or fetch and check some."""

from __future__ import annotations

from ..configuration.registry import REGISTRY, call
from ..data.sources.catalog import CATALOG
from ..data.sources.store import data_folder
from ..errors import UserError, did_you_mean
from ..tables import aligned

USAGE = """List the data sets, or fetch one.

Usage: deeprelax data [NAME ...] [data_dir=DIR]
  Without a name: what there is. With names: fetch these, unless they are there, and check them.
  DIR is by default $DEEPRELAX_DATA, else ~/.cache/deeprelax."""


def main(arguments: list[str]) -> None:
    """List the data sets, or fetch those that are named. Raises UserError."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return
    given = [each.removeprefix("data_dir=") for each in arguments if each.startswith("data_dir=")]
    names = [each for each in arguments if not each.startswith("data_dir=")]
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
    return "\n".join(aligned(rows, "<" * len(rows[0])))
