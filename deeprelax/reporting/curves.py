"""Average curves over seeds: mean and standard deviation where every seed has data, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .loading import Run

Array = NDArray[np.float64]
X = {"evaluations": "gradient_evaluations", "passes": "passes", "seconds": "seconds"}
SPLITS = {"test": "test", "validation": "validation", "train": "training"}  # each with the kind of its records


@dataclass(frozen=True)
class Curve:
    """Mean and sample standard deviation of y at x, arrays of shape (points,); std is None for one run."""

    x: Array
    mean: Array
    std: Array | None


def split_of(metric: str) -> str:
    """The split that curves are drawn for: "test", "validation" or "train" as the metric begins, else "test"."""
    name = metric.partition("_")[0]
    return name if name in SPLITS else "test"


def points(run: Run, split: str, x: str, y: str) -> tuple[Array, Array]:
    """x and y of the run's records on a split, arrays of shape (records,).

    x: a key of X. y: "loss" or a metric of the task, as "error".
    """
    pairs = [(record[X[x]], record[y]) for record in run.records if record["kind"] == SPLITS[split] and y in record]
    table = np.array(pairs, dtype=float).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def curve(runs: Sequence[Run], split: str, x: str, y: str) -> Curve | None:
    """Mean over the runs at every x where one of them was evaluated; the others are interpolated linearly there.

    Arguments as for `points`. The curve reaches from the latest first evaluation to the earliest last one, so nothing
    is extrapolated. None if that interval is empty, or a run has no record.
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
