"""Draw the density of the Hessian's eigenvalues, and the curve of local entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..reporting.style import BLUE, RED, STYLE
from .density import Density

WIDTH = 0.01  # of the Gaussian that stands for a node, in parts of the range
FEW = 7  # values of gamma that have room for a label each
LEAST = 1e-2  # of an eigenvalue, at a point: less is nothing


def draw(density: Density | None, top: Sequence[float], valley: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """What there is of both, side by side.

    valley: points of u(x, gamma) with gamma, value, error and converged; the first may be f(x) at gamma 0.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.4 if density is None or not valley else 8.6, 3.2), layout="constrained")
        FigureCanvasAgg(figure)
        figure.get_layout_engine().set(wspace=0.06)  # type: ignore[union-attr, call-arg]
        places = iter(figure.subplots(1, (density is not None) + bool(valley), squeeze=False)[0])
        if density is not None:
            _density(next(places), density, top)
        if valley:
            _valley(next(places), valley)
        figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return figure


def _valley(axes: Axes, points: Sequence[Mapping[str, Any]]) -> None:
    """u(x, gamma) with its 95 % band over gamma, linear below the first and logarithmic above; a line where it ends."""
    known = [point for point in points if point["converged"]]
    gamma, u, error = (np.array([point[key] for point in known]) for key in ("gamma", "value", "error"))
    axes.plot(gamma, u, "o-", color=BLUE, markersize=3, clip_on=False, zorder=3)
    axes.fill_between(gamma, u - error, u + error, color=BLUE, alpha=0.25, linewidth=0, label="95 % interval")
    for point in points[len(known) :][:1]:
        axes.axvline(point["gamma"], color=RED, linestyle="--", linewidth=1, label="not converged from here on")
    places = [point["gamma"] for point in points]
    axes.set_xscale("symlog", linthresh=min(place for place in places if place > 0))
    if len(places) <= FEW:
        axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.set_xlim(left=0)
    axes.set_xlabel("gamma")
    axes.set_ylabel("local entropy u(x, gamma)")
    axes.legend(loc="best")


def _density(axes: Axes, density: Density, top: Sequence[float]) -> None:
    """The number of eigenvalues per unit on a logarithmic axis, the largest ones marked below."""
    low, high = float(density.nodes.min()), max([float(density.nodes.max()), *top])
    width = WIDTH * ((high - low) or 1.0)
    grid = torch.linspace(low - 4 * width, high + 4 * width, 1000, dtype=torch.float64)
    curve = density.d * density.smoothed(grid, width)
    axes.semilogy(grid.numpy(), curve.clamp_min(LEAST * float(curve.max()) * 1e-8).numpy(), color=BLUE,
                  label="all, by Lanczos quadrature")  # fmt: skip
    axes.set_ylim(bottom=LEAST)
    if top:
        axes.plot(list(top), [0.03] * len(top), "|", color=RED, markersize=9, transform=axes.get_xaxis_transform(),
                  label=f"the {len(top)} largest" if len(top) > 1 else "the largest")  # fmt: skip
    axes.legend(loc="upper right", handlelength=1.2)
    axes.set_xlabel("eigenvalue of the Hessian")
    axes.set_ylabel("eigenvalues per unit")
