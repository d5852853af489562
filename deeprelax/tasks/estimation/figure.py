"""Draw what was found: data, fit, what is left of the equation, coefficients, and the error over Cramer and Rao's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from .dictionary import Dictionary
from .measured import Measured

NOISES = np.geomspace(0.01, 1.0, 9)


class Estimated(Protocol):
    """What is drawn of a task: its data, their box, the dictionary, the truth if known, and the network's u."""

    data: Measured
    dictionary: Dictionary
    truth: Tensor | None
    noise: float
    grid: Tensor
    counts: tuple[int, ...]

    def u(self, model: nn.Module, points: Tensor) -> Tensor: ...

    def terms(self, model: nn.Module, points: Tensor) -> Tensor: ...


def draw(task: Estimated, model: nn.Module, c: Tensor, floor: dict[str, float], file: Path) -> None:
    """A picture of the network on the test's grid and of c (terms,); `floor` as the task's."""
    from matplotlib.figure import Figure

    with torch.no_grad():
        found = task.u(model, task.grid)[:, 0].cpu()
        left = (task.terms(model, task.grid).cpu() @ c.to(task.grid.dtype).cpu()).numpy()
    figure = Figure(figsize=(17, 3.4), layout="constrained")
    axes = figure.subplots(1, 5)
    of_line = len(task.data.inputs) == 1
    shown = _line if of_line else _plane
    shown(figure, axes[0], task, "data", None)
    shown(figure, axes[1], task, "network", found.numpy())
    shown(figure, axes[2], task, "left of the equation", left)
    _coefficients(axes[3], task, c)
    _against_noise(axes[4], task, c, floor)
    figure.suptitle(task.dictionary.shown(c)[0])
    figure.savefig(file, dpi=120)


def _line(figure: Any, axes: Any, task: Estimated, title: str, values: Any) -> None:
    x = task.data.points[:, 0]
    if values is None:
        axes.plot(x, task.data.values, ".", markersize=2)
    else:
        axes.plot(task.grid[:, 0].cpu(), values)
    axes.set(title=title, xlabel=task.data.inputs[0])


def _plane(figure: Any, axes: Any, task: Estimated, title: str, values: Any) -> None:
    """Over the first two coordinates; of more, at the middle of the others."""
    a, b = task.data.inputs[:2]
    if values is None:
        image = axes.scatter(task.data.points[:, 0], task.data.points[:, 1], c=task.data.values, s=3)
    else:
        table = values.reshape(task.counts)[(slice(None), slice(None), *(n // 2 for n in task.counts[2:]))]
        low, high = task.grid.amin(0).tolist(), task.grid.amax(0).tolist()
        image = axes.imshow(table.T, origin="lower", extent=(low[0], high[0], low[1], high[1]), aspect="auto")
    figure.colorbar(image, ax=axes)
    axes.set(title=title, xlabel=a, ylabel=b)


def _coefficients(axes: Any, task: Estimated, c: Tensor) -> None:
    """c beside the truth, with the sign that fits."""
    places, truth = np.arange(len(c)), task.truth
    sign = 1.0 if truth is None or float(c @ truth) >= 0 else -1.0
    axes.barh(places, sign * c.numpy(), height=0.6, label="found")
    if truth is not None:
        axes.plot(truth.numpy(), places, "k|", markersize=12, label="true")
    axes.set_yticks(places, task.dictionary.names)
    axes.invert_yaxis()
    axes.set(title="c")
    axes.legend(fontsize="small")


def _against_noise(axes: Any, task: Estimated, c: Tensor, floor: dict[str, float]) -> None:
    """The error at this run's noise, over the bound, which is in proportion to the noise."""
    if "cramer_rao" not in floor or task.truth is None:
        axes.set_axis_off()
        return
    noise = task.noise
    axes.loglog(NOISES, floor["cramer_rao"] * NOISES / noise, "k-", label="Cramér and Rao")
    error = max(0.0, 1 - float(c @ task.truth) ** 2) ** 0.5
    axes.loglog([noise], [error], "o", color="tab:red", label="this network")
    axes.loglog([noise], [floor["maximum_likelihood"]], "s", mfc="none", color="tab:blue", label="maximum likelihood")
    axes.set(title="coefficient error", xlabel="noise over the deviation of u")
    axes.legend(fontsize="small")
