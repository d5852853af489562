"""Draw what a physics-informed network has found: solution, error, gate map, and what a classical solver needs."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from ..equations import Equation
from ..equations.rivals import rival

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Solved(Protocol):
    """What is drawn of a task: its equation, the grid with counts of points and exact values, and the network's u."""

    equation: Equation
    grid: Tensor
    counts: tuple[int, ...]
    exact: Tensor

    def u(self, model: nn.Module, points: Tensor) -> Tensor: ...

    def inputs(self, points: Tensor) -> Tensor: ...


GATE = "gate: the largest share"
RIVAL_POINTS = {
    2: (16, 32, 64, 128, 256, 512),
    3: (16, 32, 64),
}  # a dimension of space, by the dimensions of the domain


def draw(task: Solved, model: nn.Module, file: Path) -> None:
    """A picture of the network on the test's grid; beside the error, that of a classical solver against its seconds."""
    from matplotlib.figure import Figure

    with torch.no_grad():
        found = torch.cat([task.u(model, part) for part in task.grid.split(10_000)])
    error = float((found - task.exact).norm() / task.exact.norm())
    panels = [("solution", _size(found)), ("error", _size(found - task.exact))]
    if (shares := _shares(task, model)) is not None:
        panels.append((GATE, shares.argmax(1)))
    figure = Figure(figsize=(4 * len(panels) + 4, 3.4), layout="constrained")
    all_axes = figure.subplots(1, len(panels) + 1)
    for axes, (title, values) in zip(all_axes, panels, strict=False):
        _panel(figure, axes, task, title, values)
    _against(all_axes[-1], task, error)
    figure.suptitle(f"{task.equation.name}, coefficient {task.equation.coefficient:g}: relative L2 error {error:.2g}")
    figure.savefig(file, dpi=120)


def _size(values: Tensor) -> Tensor:
    """One number a point: u itself, or |psi| of several unknowns."""
    return values[:, 0] if values.shape[1] == 1 else values.norm(dim=1)


def _shares(task: Solved, model: nn.Module) -> Tensor | None:
    """The gate of a network that has one, at the points of the grid, (n, experts)."""
    if not hasattr(model, "shares"):
        return None
    with torch.no_grad():
        shares: Callable[[Tensor], Tensor] = model.shares  # type: ignore[assignment]
        return shares(task.inputs(task.grid))


def _panel(figure: Figure, axes: Any, task: Solved, title: str, values: Tensor) -> None:
    """A map over (t, x), or over (x, y) at the last moment."""
    names, low, high = task.equation.inputs, task.equation.low, task.equation.high
    table = values.detach().cpu().reshape(task.counts).numpy()
    if len(names) == 3:
        table, names, low, high = table[-1], names[1:], low[1:], high[1:]
        title = f"{title}, t = {task.equation.high[0]:.3g}"
    colours: dict[str, Any] = {"cmap": "magma" if title.startswith("error") else "viridis"}
    if title.startswith(GATE):  # a colour for each expert
        from matplotlib import colormaps

        count = int(values.max()) + 1
        colours = {"cmap": colormaps["tab10"].resampled(count), "vmin": -0.5, "vmax": count - 0.5}
    image = axes.imshow(table.T, origin="lower", extent=(low[0], high[0], low[1], high[1]), aspect="auto", **colours)
    figure.colorbar(image, ax=axes, ticks=range(count) if title.startswith(GATE) else None)
    axes.set(title=title, xlabel=names[0], ylabel=names[1])


def _against(axes: Any, task: Solved, error: float) -> None:
    """Error against seconds of the rival, and the network's error as a line."""
    tried = [rival(task.equation, points) for points in RIVAL_POINTS[len(task.equation.inputs)]]
    found = [each for each in tried if each is not None]
    if found:
        axes.loglog([each.seconds for each in found], [each.error for each in found], "o-", label="at the last t")
        axes.set_title(textwrap.fill(found[0].method, 30), fontsize="medium")
    axes.axhline(error, color="tab:red", label="this network, all t")
    axes.set(xlabel="seconds", ylabel="relative L2 error")
    axes.xaxis.set_minor_formatter("")  # labels of a short range would lie on each other
    axes.legend(fontsize="small")
