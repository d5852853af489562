"""Summarize a metric over seeds, and estimate differences paired by seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
ROUNDING = 1e-6  # of the largest value: networks compute in single precision, of seven digits


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (ddof = 1) of n values; no deviation for fewer than two."""

    n: int
    mean: float | None
    std: float | None


@dataclass(frozen=True)
class Difference:
    """Mean of the paired differences and its confidence interval [low, high] by Student's t.

    why_not: why there is no mean, or no interval. The fields' names are keys of table.json.
    """

    pairs: int
    mean: float | None
    low: float | None
    high: float | None
    why_not: str = ""


def summarize(values: Sequence[float]) -> Summary:
    """The summary of some values; NaN and infinity make the mean so, and leave no deviation."""
    if not values:
        return Summary(0, None, None)
    finite = all(map(math.isfinite, values))
    spread = statistics.stdev(values) if finite and len(values) > 1 else None
    return Summary(len(values), statistics.fmean(values), spread)


def paired_difference(
    values: Mapping[int, float], baseline: Mapping[int, float], resolution: float = 0.0
) -> Difference:
    """Mean and 95 % interval of values - baseline, both seed -> value, over the seeds that both have.

    resolution: the values are multiples of it, but for rounding; 0 if they are real numbers. Differences that are alike
    to half of it, or to single precision, are alike: they have no interval, which would be one of rounding, of width 0.
    The interval assumes that the differences are independent and normal; it holds for one comparison at a time.
    """
    differences = [values[seed] - baseline[seed] for seed in sorted(values.keys() & baseline.keys())]
    pairs = len(differences)
    if pairs == 0:
        return Difference(0, None, None, None, "no seed in common")
    mean = statistics.fmean(differences)
    if not math.isfinite(mean):
        return Difference(pairs, None, None, None, "not finite")
    if pairs == 1:
        return Difference(1, mean, None, None, "one pair")
    largest = max(abs(each[seed]) for each in (values, baseline) for seed in values.keys() & baseline.keys())
    if max(differences) - min(differences) <= max(resolution / 2, ROUNDING * largest):
        return Difference(pairs, mean, None, None, "all pairs alike")
    error = statistics.stdev(differences) / math.sqrt(pairs)
    from scipy.special import stdtrit  # the quantile of Student's t; scipy.stats takes a second to import

    reach = float(stdtrit(pairs - 1, (1 + CONFIDENCE) / 2)) * error
    return Difference(pairs, mean, mean - reach, mean + reach)
