"""What an experiment hands back, how it is written, and the panels of its figure."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import files
from ..reporting.style import STYLE, save


@dataclass
class Outcome:
    """name: of the files. figure: for PNG and PDF. arrays: for the .npz. lines: what is said on the screen."""

    name: str
    figure: Figure
    arrays: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def rendered(self, kind: str) -> bytes:
        """The figure as "png" or "pdf", the same bytes each time."""
        file = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            save(self.figure, file, kind, dpi=150)
        return file.getvalue()

    def write(self, directory: Path, configuration: str) -> None:
        """NAME.png, NAME.pdf and NAME.npz, each whole or not there; prints what was found, and where the files are."""
        stem = directory / self.name
        for kind in ("png", "pdf"):
            _replace(Path(f"{stem}.{kind}"), self.rendered(kind))
        packed = io.BytesIO()
        np.savez_compressed(packed, configuration=configuration, **self.arrays)
        _replace(Path(f"{stem}.npz"), packed.getvalue())
        print("\n".join([*self.lines, f"wrote {stem}.png, .pdf and .npz"]))


def _replace(path: Path, content: bytes) -> None:
    def write_all(file: IO[bytes]) -> None:
        file.write(content)

    files.replace(path, write_all)


@contextmanager
def panels(rows: int, columns: int, width: float, height: float, **keywords: Any) -> Iterator[tuple[Figure, Any]]:
    """A figure of width x height inches in the house style, and its axes, an array of shape (rows, columns)."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False, **keywords)


def shades(count: int) -> list[Any]:
    """`count` colours from dark to bright, for times."""
    return [colormaps["viridis"](v) for v in np.linspace(0.0, 0.82, max(count, 1))]


def letter(axes: Any) -> None:
    """(a), (b), ... before the titles of the panels."""
    for index, ax in enumerate(np.ravel(axes)):
        assert isinstance(ax, Axes)
        ax.set_title(f"({chr(ord('a') + index)}) {ax.get_title()}", loc="left")
        ax.set_title("")
