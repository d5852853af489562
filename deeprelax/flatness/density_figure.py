"""Draw the density of the Hessian's eigenvalues."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..reporting.style import BLUE, RED, STYLE
from .density import Density

WIDTH = 0.01  # of the Gaussian that stands for a node, in parts of the range
LEAST = 1e-2  # of an eigenvalue, at a point: less is nothing


def draw(density: Density, top: Sequence[float], title: str) -> Figure:
    """The number of eigenvalues per unit on a logarithmic axis, the largest ones marked below."""
    low, high = float(density.nodes.min()), max([float(density.nodes.max()), *top])
    width = WIDTH * ((high - low) or 1.0)
    grid = torch.linspace(low - 4 * width, high + 4 * width, 1000, dtype=torch.float64)
    curve = density.d * density.smoothed(grid, width)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.4, 3.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.semilogy(grid.numpy(), curve.clamp_min(LEAST * float(curve.max()) * 1e-8).numpy(), color=BLUE)
        axes.set_ylim(bottom=LEAST)
        if top:
            axes.plot(list(top), [0.03] * len(top), "|", color=RED, markersize=9, transform=axes.get_xaxis_transform(),
                      label=f"largest {len(top)}" if len(top) > 1 else "the largest")  # fmt: skip
            axes.legend(loc="upper right")
        axes.set_xlabel("eigenvalue of the Hessian")
        axes.set_ylabel("eigenvalues per unit")
        figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return figure
