"""Time works side by side: each measurement stands between two of its floor."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

Work = Callable[[], object]


@dataclass(slots=True)
class Ratio:
    """Seconds of each repeat, and their ratios to the floor measured before and after it."""

    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    @property
    def median_seconds(self) -> float:
        """The median over the repeats, in seconds."""
        return statistics.median(self.seconds)

    @property
    def median(self) -> float:
        """The median ratio over the repeats."""
        return statistics.median(self.ratios)

    def over(self, other: Ratio) -> float:
        """By how much this one is above another of the same rounds, in floors: the median of the differences."""
        return statistics.median(a - b for a, b in zip(self.ratios, other.ratios, strict=True))

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and third quartile of the ratios."""
        if len(self.ratios) < 2:
            return self.ratios[0], self.ratios[0]
        low, _, high = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return low, high


def seconds(work: Work, device: torch.device) -> float:
    """Wall time of the work in seconds, until the device has finished it."""
    wait(device)
    began = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - began


def beside(floor: Work, works: dict[str, Work], repeats: int, device: torch.device) -> dict[str, Ratio]:
    """Time `works` in turn, the floor before the first and after each; a ratio is over the mean of its two floors.

    A machine whose speed drifts slows a work and its floors alike, and the ratio stays. All are run once beforehand,
    unmeasured. The result has "floor" for the floor itself, and the names of the works.
    """
    for work in (floor, *works.values()):
        work()
    found = {name: Ratio() for name in ("floor", *works)}
    for _ in range(repeats):
        before = seconds(floor, device)
        for name, work in works.items():
            taken = seconds(work, device)
            after = seconds(floor, device)
            found[name].seconds.append(taken)
            found[name].ratios.append(taken / ((before + after) / 2))
            found["floor"].seconds.append(after)
            found["floor"].ratios.append(1.0)
            before = after
    return found


def wait(device: torch.device) -> None:
    """Until the device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
