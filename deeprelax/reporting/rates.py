"""Read a learning-rate range test: the smoothed loss over the rate, the rate that it suggests, and the figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
MARGIN = 10.0  # the suggestion is the rate where the smoothed loss is lowest over this


def window(steps: int) -> int:
    """Steps whose losses are averaged, in a test of so many: an odd number, a twentieth of them, 3 at least."""
    return max(3, steps // 20 // 2 * 2 + 1)


def has_diverged(losses: Sequence[float], width: int) -> bool:
    """Has the mean of the last `width` losses risen above the first one's as far as it had fallen, or to its double?"""
    if len(losses) <= width:
        return False
    means = np.convolve(losses, np.full(width, 1 / width), "valid")
    return bool(means[-1] > means[0] + max(means[0] - means.min(), abs(means[0])))


@dataclass(frozen=True)
class Curve:
    """The losses of steps at rising rates; `diverged`: the rate at which the test ended, if before its last step."""

    rates: Sequence[float]
    losses: Sequence[float]
    width: int
    diverged: float | None

    @cached_property
    def smoothed(self) -> Array:
        """The mean over `width` steps around each, of fewer at both ends, an array of shape (steps,)."""
        ones, half = np.ones(self.width), self.width // 2
        sums, counts = (np.convolve(each, ones, "full") for each in (self.losses, np.ones(len(self.losses))))
        means: Array = (sums / counts)[half : half + len(self.losses)]
        return means

    @property
    def lowest(self) -> int:
        """The step at which the smoothed loss is lowest."""
        return int(self.smoothed.argmin())

    @property
    def problem(self) -> str:
        """Why no rate is suggested; "" if one is."""
        at, rates = self.lowest, self.rates
        if at == 0 or len(self.losses) <= self.width:
            return f"the loss rises from {rates[0]:.3g} on: lower --from"
        spread = float(np.std(self.losses[: at + 1] - self.smoothed[: at + 1]))
        if self.smoothed[0] - self.smoothed[at] <= 2 * spread:
            return (
                f"no rate from {rates[0]:.3g} to {rates[-1]:.3g} lowers the loss by more than its batches differ: "
                "raise --to, --steps or batch_size"
            )
        if self.diverged is None and at >= len(self.losses) - self.width:
            return f"the loss still falls at {rates[-1]:.3g}: raise --to"
        return ""

    @property
    def suggestion(self) -> float | None:
        """A tenth of the rate where the smoothed loss is lowest, in two digits; None where there is a problem."""
        return None if self.problem else float(f"{self.rates[self.lowest] / MARGIN:.2g}")

    def summary(self) -> str:
        """The loss at first, where it is lowest, and where it diverges."""
        end = "" if self.diverged is None else f", diverges at {self.diverged:.2g}"
        first, lowest = self.smoothed[0], self.smoothed[self.lowest]
        return (
            f"the training loss begins at {first:.4g}, is lowest ({lowest:.4g}) at {self.rates[self.lowest]:.2g}{end}"
        )


def draw(curve: Curve, key: str, title: str, file: Path) -> None:
    """Loss over rate, each step's and smoothed, with the lowest point and the suggestion, as a PNG."""
    import matplotlib
    from matplotlib.figure import Figure

    from .style import BLUE, GREEN, GREY, RED, STYLE, save

    rates, lowest = curve.rates, curve.lowest
    low, first = float(min(curve.losses[: lowest + 1])), float(curve.smoothed[0])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5, 3.2), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(rates, curve.losses, color=GREY, linewidth=0.8, alpha=0.6, label="of each step")
        axes.plot(rates, curve.smoothed, color=BLUE, label=f"mean over {curve.width} steps")
        axes.plot(rates[lowest], curve.smoothed[lowest], "o", color=RED, label=f"lowest at {rates[lowest]:.2g}")
        if curve.suggestion is not None:
            axes.axvline(curve.suggestion, color=GREEN, linestyle="--", label=f"suggested {curve.suggestion:.2g}")
        axes.set_xscale("log")
        if low > 0 and first > 100 * low:
            axes.set_yscale("log")
            axes.set_ylim(low / 2, first * 4)
        elif first > low:  # what diverges would leave no room for the rest
            axes.set_ylim(low - 0.1 * (first - low), first + 0.4 * (first - low))
        axes.set_xlabel(key)
        axes.set_ylabel("training loss")
        axes.set_title(title)
        axes.legend()
        save(figure, file, "png", 150)
