"""Align tables for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

GAP = 2  # characters between columns
NARROWEST = 12  # characters of the first column, however little room the others leave


def aligned(rows: Sequence[Sequence[str]], sides: str, width: int | None = None) -> list[str]:
    """The lines of a table: columns two characters apart, each as wide as its longest cell.

    rows: at least one row, the heading included, with the same number of cells in each. sides: one character for each
    column, "<" to align left, ">" right. width: the longest line in characters; cells of the first column are wrapped
    to fit it, into lines of their own below the row.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if width is not None:
        room = width - sum(GAP + other for other in widths[1:])
        widths[0] = min(widths[0], max(room, NARROWEST))
    lines = []
    for row in rows:
        first, *more = textwrap.wrap(row[0], max(widths[0], 1), subsequent_indent="  ") or [""]
        cells = [f"{cell:{side}{n}}" for cell, side, n in zip([first, *row[1:]], sides, widths, strict=True)]
        lines += [(" " * GAP).join(cells).rstrip(), *more]
    return lines
