"""What an experiment hands back, and the look of its figures."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers too.
GREY, BLUE, RED, GREEN, PURPLE, ORANGE, SKY = (
    "#777777",
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
)
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "mathtext.fontset": "cm",
    "pdf.fonttype": 42,
}


@dataclass
class Outcome:
    """name: of the files. figure: for PNG and PDF. arrays: for the .npz. lines: what is said on the screen."""

    name: str
    figure: Figure
    arrays: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def rendered(self, kind: str) -> bytes:
        """The figure as "png" or "pdf", the same bytes each time."""
        logging.getLogger("fontTools").setLevel(logging.ERROR)  # it tells of every subset of a font
        file = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            self.figure.savefig(file, format=kind, dpi=150, metadata={"CreationDate": None} if kind == "pdf" else None)
        return file.getvalue()


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
