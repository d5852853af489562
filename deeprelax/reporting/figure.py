"""Error and loss against cost: a row of two panels for each table, as PNG and PDF."""

from __future__ import annotations

import textwrap
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from .curves import Curve, curve, points, split_of
from .rows import Block, Comparison, Row
from .style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, STYLE, save

BASELINE = (BLACK, "o")
OTHERS = [(BLUE, "s"), (RED, "^"), (GREEN, "D"), (PURPLE, "v"), (ORANGE, "P"), (SKY, "X"), (GREY, "*")]
Look = tuple[str, str]  # colour and marker
AXIS = {"evaluations": "gradient evaluations", "passes": "passes over the training data", "seconds": "seconds"}
WIDE = 10.0  # ratio of the largest to the smallest mean from which on an axis is logarithmic


def write(comparison: Comparison, folder: Path, x: str) -> list[str]:
    """curves.png and curves.pdf in the folder; nothing if no run has been evaluated. Returns the names."""
    blocks = [block for block in comparison.blocks if any(row.counted for row in block.rows)]
    names = ["curves.png", "curves.pdf"]
    if not blocks:
        for name in names:
            (folder / name).unlink(missing_ok=True)  # an older one would be of other runs
        return []
    with mpl.rc_context(STYLE):
        figure = draw(blocks, comparison.metric, x)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # it is laid out: not again for each file
        for name in names:
            beside = folder / f"{name}.new"
            save(figure, beside, name[-3:], dpi=200)
            beside.replace(folder / name)
    return names


def draw(blocks: list[Block], metric: str, x: str) -> Figure:
    figure = Figure(figsize=(9.0, 3.0 * len(blocks) + 0.2), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(blocks), 2, squeeze=False)
    split = split_of(metric)
    rows_of = [chosen(block) for block in blocks]
    looks = _looks(rows_of)
    for block, rows, (left, right) in zip(blocks, rows_of, grid, strict=True):
        for axes, y in [(left, "error"), (right, "loss")]:
            _panel(axes, [(row, looks[row.group.label]) for row in rows], split, x, y)
            axes.set_xlabel(AXIS[x])
            axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=x == "evaluations"))
            axes.set_ylabel(f"{split} {y}{' (%)' if y == 'error' else ''}")
        left.set_title(block.title, loc="left")
        _legend(right, block, rows)
    return figure


def chosen(block: Block) -> list[Row]:
    """The rows that are drawn: all, or the baseline and the best ones where they are too many for the colours."""
    rows = [row for row in block.rows if row.counted]
    best = [row for row in rows if row.is_baseline][:1]
    taken = {id(row) for row in best}
    best += [row for row in rows if id(row) not in taken][: len(OTHERS)]
    taken = {id(row) for row in best}
    return [row for row in rows if id(row) in taken]


def _looks(rows_of: list[list[Row]]) -> dict[str, Look]:
    """The same colour and marker for a label in all panels; the best baseline is black."""
    rows = [row for rows in rows_of for row in rows]
    first = [next((row.group.label for row in rows if row.is_baseline), None) for rows in rows_of]
    looks = {label: BASELINE for label in first if label is not None}
    for label in sorted({row.group.label for row in rows} - looks.keys()):
        looks[label] = OTHERS[sum(look != BASELINE for look in looks.values()) % len(OTHERS)]
    return looks


def _panel(axes: Axes, rows: list[tuple[Row, Look]], split: str, x: str, y: str) -> None:
    drawn = []
    for row, (colour, marker) in rows:
        drawable = [run for run in row.counted if len(points(run, split, x, y)[0])]
        found = curve(drawable, split, x, y)
        some = f"{len(drawable)}\u00a0of\u00a0" if 0 < len(drawable) < len(row.counted) else ""
        label = "\n".join(textwrap.wrap(f"{row.group.label} (n\u00a0=\u00a0{some}{len(row.counted)})", 30))
        if found is None:  # an entry in the legend all the same
            axes.plot([], [], color=colour, label=f"{label}\n(no common {x})")
            continue
        drawn.append(found)
        few = len(found.x) <= 30
        axes.plot(
            found.x, found.mean, color=colour, linestyle="-" if row.comparable else "--",
            marker=marker if few else None, markersize=3.5, label=label, zorder=3,
        )  # fmt: skip
        if found.std is not None and len(found.x) == 1:
            axes.errorbar(found.x, found.mean, found.std, color=colour, linewidth=1, capsize=2, zorder=2)
        elif found.std is not None:
            low, high = found.mean - found.std, found.mean + found.std
            axes.fill_between(found.x, low, high, color=colour, alpha=0.18, linewidth=0, zorder=2)
    _scale(axes, drawn)


def _scale(axes: Axes, drawn: list[Curve]) -> None:
    """Logarithmic where the means span more than a decade, with room for the bands but not for their zeros."""
    if not drawn:
        return
    means = np.concatenate([each.mean for each in drawn])
    means = means[np.isfinite(means)]
    if not len(means) or means.min() <= 0 or means.max() / means.min() < WIDE:
        axes.margins(y=0.08)
        axes.set_ylim(bottom=0)
        return
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(means.min() / 1.5, means.max() * 1.3)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _legend(axes: Axes, block: Block, rows: list[Row]) -> None:
    total = sum(bool(row.counted) for row in block.rows)
    words = ["mean ± standard", "deviation over seeds"] if any(len(row.counted) > 1 for row in rows) else []
    words += ["dashed: another budget"] if any(not row.comparable for row in rows) else []
    words += [f"{len(rows)} of {total} groups: the", "best, and the baseline"] if len(rows) < total else []
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        borderaxespad=0,
        title="\n".join(words),
        title_fontsize=8,
        alignment="left",
    )
