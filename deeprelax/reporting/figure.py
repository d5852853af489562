"""Draw the score and the loss of x against cost as PNG and PDF: a row of two panels for each table."""

from __future__ import annotations

import textwrap
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from ..records.scores import of_key
from ..tasks.metric import Metric
from .curves import Curve, curve, points, split_of
from .rows import Comparison, Row, Table
from .style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, STYLE, save

BASELINE = (BLACK, "o")
OTHERS = [(BLUE, "s"), (RED, "^"), (GREEN, "D"), (PURPLE, "v"), (ORANGE, "P"), (SKY, "X"), (GREY, "*")]
LineStyle = tuple[str, str]  # colour, marker
AXIS = {"evaluations": "gradient evaluations", "passes": "passes over the training data", "seconds": "seconds"}
WIDE = 10.0  # ratio of the largest to the smallest mean from which on an axis is logarithmic


def write(comparison: Comparison, folder: Path, x: str) -> list[str]:
    """Write curves.png and curves.pdf into the folder, and return their names; none if no run has a result.

    x: the axis, a key of AXIS.
    """
    tables = [table for table in comparison.tables if any(row.counted for row in table.rows)]
    names = ["curves.png", "curves.pdf"]
    if not tables:
        for name in names:
            (folder / name).unlink(missing_ok=True)  # an older figure would show other runs than the tables beside it
        return []
    with mpl.rc_context(STYLE):
        figure = draw(tables, x)
        # The constrained layout is the slow part: compute it once, then freeze it for both files
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for name in names:
            beside = folder / f"{name}.new"
            save(figure, beside, name[-3:], dpi=200)
            beside.replace(folder / name)
    return names


def draw(tables: list[Table], x: str) -> Figure:
    """The figure: left the score on the split of the table's metric, right the loss, a legend at the right edge."""
    figure = Figure(figsize=(9.0, 3.0 * len(tables) + 0.2), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(tables), 2, squeeze=False)
    rows_of = [chosen(table) for table in tables]
    styles = _line_styles(rows_of)
    for table, rows, (left, right) in zip(tables, rows_of, grid, strict=True):
        split = split_of(table.metric)
        for axes, y in [(left, table.drawn), (right, f"loss{table.mean}")]:
            metric = of_key(f"{split}_{y}", table.metrics)
            drawn = _panel(axes, [(row, styles[row.group.label]) for row in rows], split, x, y)
            _scale(axes, drawn, metric)
            axes.set_xlabel(AXIS[x])
            axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=x == "evaluations"))
            axes.set_ylabel(f"{split} {y.replace('_', ' ')}" + (f" ({metric.unit})" if metric.unit else ""))
        left.set_title(table.title, loc="left")
        _legend(right, table, rows)
    return figure


def chosen(table: Table) -> list[Row]:
    """The rows to draw, in the table's order: all with a result, or the baseline and the best seven."""
    rows = [row for row in table.rows if row.counted]
    best = [row for row in rows if row.is_baseline][:1]
    taken = {id(row) for row in best}
    best += [row for row in rows if id(row) not in taken][: len(OTHERS)]
    taken = {id(row) for row in best}
    return [row for row in rows if id(row) in taken]


def _line_styles(rows_of: list[list[Row]]) -> dict[str, LineStyle]:
    """label -> colour and marker, the same in all panels; the best baseline of each table is black."""
    rows = [row for rows in rows_of for row in rows]
    first = [next((row.group.label for row in rows if row.is_baseline), None) for rows in rows_of]
    styles = {label: BASELINE for label in first if label is not None}
    for label in sorted({row.group.label for row in rows} - styles.keys()):
        styles[label] = OTHERS[sum(style != BASELINE for style in styles.values()) % len(OTHERS)]
    return styles


def _panel(axes: Axes, rows: list[tuple[Row, LineStyle]], split: str, x: str, y: str) -> list[Curve]:
    drawn = []
    for row, (colour, marker) in rows:
        drawable = [run for run in row.counted if len(points(run, split, x, y)[0])]
        found = curve(drawable, split, x, y)
        some = f"{len(drawable)}\u00a0of\u00a0" if 0 < len(drawable) < len(row.counted) else ""
        label = "\n".join(textwrap.wrap(f"{row.group.label} (n\u00a0=\u00a0{some}{len(row.counted)})", 30))
        if found is None:  # an entry in the legend says why there is no line
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
    return drawn


def _scale(axes: Axes, drawn: list[Curve], metric: Metric) -> None:
    """Make the axis logarithmic where the means span a decade or more, else linear from 0.

    Where larger is better, and where some means are negative, it is linear around the means: 0 is no goal there. The
    limits follow the means: a band that reaches down to 0 would stretch a logarithmic axis without end.
    """
    if not drawn:
        return
    means = np.concatenate([each.mean for each in drawn])
    means = means[np.isfinite(means)]
    if not metric.smaller_is_better or (means < 0).any():
        axes.margins(y=0.08)
        return
    if not len(means) or means.min() <= 0 or means.max() / means.min() < WIDE:
        axes.margins(y=0.08)
        axes.set_ylim(bottom=0)
        return
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(means.min() / 1.5, means.max() * 1.3)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _legend(axes: Axes, table: Table, rows: list[Row]) -> None:
    total = sum(bool(row.counted) for row in table.rows)
    lines = ["mean ± standard", "deviation over seeds"] if any(len(row.counted) > 1 for row in rows) else []
    lines += ["dashed: another budget"] if any(not row.comparable for row in rows) else []
    lines += [f"{len(rows)} of {total} groups: the", "best, and the baseline"] if len(rows) < total else []
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        borderaxespad=0,
        title="\n".join(lines),
        title_fontsize=8,
        alignment="left",
    )
