"""Draw calibration, how sure the network is of foreign images, and scores against the number of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from .calibration import BINS, HIGHEST, LEVELS, LOWEST, auroc, ece


def draw(sums: Sequence[Tensor], by_steps: Mapping[int, Mapping[str, float]], file: Path) -> None:
    """A picture of the parts of `Bayesian.sums`, and of scores for each number of steps if there are any."""
    from matplotlib.figure import Figure

    _, bins, own, foreign = sums
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    _reliability(axes[0], bins.reshape(3, BINS))
    _confidence(axes[1], own, foreign)
    _steps(axes[2], by_steps)
    figure.savefig(file, dpi=120)


def _reliability(axes: Any, bins: Tensor) -> None:
    images, confidence, right = bins.numpy()
    there = images > 0
    axes.plot([0, 1], [0, 1], "k--", linewidth=0.8)
    axes.scatter(
        confidence[there] / images[there], right[there] / images[there], s=10 + 90 * images[there] / images.sum()
    )
    axes.set(xlabel="confidence", ylabel="share that is right", title=f"ece {ece(bins):.4f}")


def _confidence(axes: Any, own: Tensor, foreign: Tensor) -> None:
    """Histograms of log odds, 64 levels to a bar."""
    edges = np.linspace(LOWEST, HIGHEST, LEVELS // 64 + 1)
    for name, counts in (("test images", own), ("their pixels shuffled", foreign)):
        axes.stairs(
            counts.reshape(-1, 64).sum(1).numpy() / float(counts.sum()), edges, fill=True, alpha=0.5, label=name
        )
    axes.set(xlabel="log odds of the predicted class", ylabel="share", title=f"auroc {auroc(own, foreign):.4f}")
    axes.legend(fontsize="small")


def _steps(axes: Any, by_steps: Mapping[int, Mapping[str, float]]) -> None:
    if not by_steps:
        axes.set_axis_off()
        return
    steps = list(by_steps)
    axes.plot(steps, [by_steps[each]["error"] for each in steps], "o-", label="error in %")
    axes.plot(steps, [100 * by_steps[each]["ece"] for each in steps], "s--", label="100 ece")
    axes.set(xscale="log", xlabel="steps of Euler-Maruyama in evaluation", title="error and ece", ylim=(0, None))
    axes.set_xticks(steps, [str(each) for each in steps])
    axes.minorticks_off()
    axes.legend(fontsize="small")
