"""Tables for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

GAP = 2  # letters between columns
NARROWEST = 12  # the first column, however little room the others leave


def aligned(rows: Sequence[Sequence[str]], sides: str, width: int | None = None) -> list[str]:
    """The lines of a table of one row or more: columns two letters apart, each as wide as its longest cell.

    rows: the cells, as many in each; the heading is one of them. sides: a letter for each column, "<" for left or
    ">" for right. width: of a line at most; the first column then goes on below where it is too long.
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
