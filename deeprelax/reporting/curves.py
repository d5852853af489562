"""Curves over seeds: mean and standard deviation where every seed has data, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .runs import Run

Array = NDArray[np.float64]
X = {"evaluations": "gradient_evaluations", "passes": "passes", "seconds": "seconds"}
SPLITS = ("test", "validation")


@dataclass(frozen=True)
class Curve:
    """mean and std (None for one run) of y at x: arrays of one length."""

    x: Array
    mean: Array
    std: Array | None


def split_of(metric: str) -> str:
    """The images that curves are drawn for: those of the metric, else the test images."""
    name = metric.partition("_")[0]
    return name if name in SPLITS else SPLITS[0]


def points(run: Run, split: str, x: str, y: str) -> tuple[Array, Array]:
    """The run's records of y ("error" or "loss") on a split, against x."""
    pairs = [(record[X[x]], record[y]) for record in run.records if record["kind"] == split and y in record]
    table = np.array(pairs, dtype=float).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def curve(runs: Sequence[Run], split: str, x: str, y: str) -> Curve | None:
    """Mean over the runs at every x where one of them was evaluated, the others linear between their own evaluations.

    Only from the latest first evaluation to the earliest last one: nothing is extrapolated. None if that is nowhere.
    """
    series = [points(run, split, x, y) for run in runs]
    if not series or any(not len(xs) for xs, _ in series):
        return None
    low, high = max(xs[0] for xs, _ in series), min(xs[-1] for xs, _ in series)
    grid = np.unique(np.concatenate([xs for xs, _ in series]))
    grid = grid[(grid >= low) & (grid <= high)]
    if not len(grid):
        return None
    values = np.stack([np.interp(grid, xs, ys) for xs, ys in series])
    return Curve(grid, values.mean(axis=0), values.std(axis=0, ddof=1) if len(runs) > 1 else None)
