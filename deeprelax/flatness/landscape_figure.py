"""Draw a landscape: a line as curves, a plane as contours and a surface, the first metric beside the loss."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, NullFormatter

from ..reporting.style import BLACK, BLUE, RED, STYLE
from .landscapes import Landscape

WIDE = 10.0  # ratio of the largest to the smallest value from which on levels and axes are logarithmic
FEW = 2  # decades that a logarithmic axis has more marks in than one each
LEVELS = 12
LABELLED = 3  # each so many: more would cover each other where the loss is steep
LETTERS = 13  # of the title, in an inch


def draw(found: Landscape, labels: Sequence[str], units: dict[str, str], title: str) -> Figure:
    """The figure. labels: of the axes; units: of the values, by name."""
    with mpl.rc_context(STYLE):
        figure = _curves(found, labels[0], units) if len(found.axes) == 1 else _planes(found, labels, units)
        width, height = figure.get_size_inches()
        lines = [part for line in title.splitlines()
                 for part in textwrap.wrap(line, int(LETTERS * width), subsequent_indent="    ")]  # fmt: skip
        figure.set_size_inches(width, height + 0.15 * (len(lines) - 1))
        figure.suptitle("\n".join(lines), fontsize=9, x=0.01, ha="left")
        figure.draw_without_rendering()  # the layout is computed once, for all files
        figure.set_layout_engine("none")
    return figure


def _named(name: str, units: dict[str, str]) -> str:
    return f"{name} ({units[name]})" if units.get(name) else name


def _is_wide(values: Any) -> bool:
    finite = values[np.isfinite(values)]
    return bool(len(finite) and finite.min() > 0 and finite.max() / finite.min() >= WIDE)


def _curves(found: Landscape, label: str, units: dict[str, str]) -> Figure:
    figure = Figure(figsize=(4.2 * len(found.values), 3.1), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(found.values), squeeze=False)[0]
    for axes, (name, tensor), colour in zip(panels, found.values.items(), (BLUE, RED), strict=False):
        values = tensor.cpu().numpy()
        axes.plot(found.axes[0].cpu().numpy(), values, color=colour, marker="o", markersize=2.5)
        if _is_wide(values):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        for mark, (place,) in found.marks.items():
            axes.axvline(place, color=BLACK, linewidth=0.8, linestyle=":")
            axes.annotate(mark, (place, 1.0), (2, -2), xycoords=("data", "axes fraction"), va="top", fontsize=8,
                          textcoords="offset points")  # fmt: skip
        axes.set_xlabel(label)
        axes.set_ylabel(_named(name, units))
    return figure


def _planes(found: Landscape, labels: Sequence[str], units: dict[str, str]) -> Figure:
    figure = Figure(figsize=(4.0 * (len(found.values) + 1), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    places = (1, len(found.values) + 1)
    x, y = (axis.cpu().numpy() for axis in found.axes)
    for i, (name, tensor) in enumerate(found.values.items()):
        values = tensor.cpu().numpy().T  # rows are y
        axes = figure.add_subplot(*places, 1 if i == 0 else i + 2)
        (_contours if i == 0 else _shades)(axes, x, y, values)
        _marked(axes, found)
        axes.set_title(_named(name, units), loc="left")
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        if i == 0:
            _surface(figure.add_subplot(*places, 2, projection="3d"), x, y, values, _named(name, units), labels)
    return figure


def _contours(axes: Axes, x: Any, y: Any, values: Any) -> None:
    shown = np.ma.masked_invalid(values)
    axes.grid(visible=False)
    if shown.count() and shown.min() < shown.max():
        norm = "log" if _is_wide(values) else None
        lines = axes.contour(x, y, shown, levels=_levels(shown), cmap="viridis", linewidths=1.0, norm=norm)
        axes.clabel(lines, list(lines.levels)[::LABELLED], fontsize=6, fmt=lambda level: f"{level:.3g}")


def _shades(axes: Axes, x: Any, y: Any, values: Any) -> None:
    """A score that has steps, as a share of few examples: its contours would be frayed."""
    axes.grid(visible=False)
    mesh = axes.pcolormesh(x, y, np.ma.masked_invalid(values), cmap="viridis", shading="nearest", rasterized=True)
    assert axes.figure is not None
    axes.figure.colorbar(mesh, ax=axes, shrink=0.8)


def _marked(axes: Axes, found: Landscape) -> None:
    axes.set_aspect("equal", adjustable="box")
    marks = list(found.marks.items())
    if found.explained:  # a path
        axes.plot(*np.array([place for _, place in marks]).T, color=RED, linewidth=1.0, marker="o", markersize=2.5)
    for label, (a, b) in marks:
        axes.plot(a, b, color=RED, marker="+", markersize=7, linestyle="none")
        axes.annotate(label, (a, b), (3, 3), textcoords="offset points", fontsize=7, color=RED,
                      path_effects=[withStroke(linewidth=2, foreground="white")])  # fmt: skip


def _levels(values: Any) -> Any:
    """Round numbers would crowd a narrow valley: equal steps, of the logarithm where values span a decade."""
    low, high = float(values.min()), float(values.max())
    if _is_wide(values.compressed()):
        return np.geomspace(low, high, LEVELS + 2)[1:-1]
    return np.linspace(low, high, LEVELS + 2)[1:-1]


def _surface(axes: Any, x: Any, y: Any, values: Any, name: str, labels: Sequence[str]) -> None:
    wide = _is_wide(values)
    heights = np.log10(values) if wide else values
    axes.plot_surface(*np.meshgrid(x, y), np.where(np.isfinite(heights), heights, np.nan), cmap="viridis",
                      rstride=1, cstride=1, linewidth=0.1, edgecolor=BLACK, antialiased=True)  # fmt: skip
    if wide:
        known = heights[np.isfinite(heights)]
        low, high = math.floor(known.min()), math.ceil(known.max())
        if np.ptp(known) < FEW:
            marks = [part * 10.0**decade for decade in range(low, high) for part in (1, 2, 5)]
        else:
            marks = [10.0**decade for decade in range(low, high + 1, max(1, (high - low) // 4))]
        marks = [mark for mark in marks if known.min() <= math.log10(mark) <= known.max()]
        axes.set_zticks(list(map(math.log10, marks)), [f"{mark:g}" for mark in marks])
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_title(name, loc="left")
    axes.set_xlabel(labels[0], fontsize=7)
    axes.set_ylabel(labels[1], fontsize=7)
    axes.tick_params(labelsize=6)
