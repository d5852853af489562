"""What thermodynamic integration needs: a rule for integrals over gamma, and averages of a chain with their errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from .spectrum import CONFIDENCE

NODES = (3, 2)  # of Gauss and Legendre's rule, in the panel that begins at 0 and in the others: to 1e-3
GROWTH = 4.0  # of gamma in a panel, at most
BATCHES = 12  # whose means an interval is made of
LEAST = 12.0  # effective samples at each gamma


@dataclass
class Slope:
    """du/dgamma at one gamma, its standard error with the degrees of freedom of that, and effective samples."""

    value: float
    error: float
    freedom: float
    effective: float
    reason: str = ""


def panels(left: float, right: float, stiffest: float) -> list[tuple[float, float]]:
    """From left to right: first to 1/stiffest, if left is 0, then by equal factors up to `GROWTH`."""
    panels = []
    if left == 0:
        end = min(right, 1 / stiffest) if stiffest > 0 else right
        panels, left = [(0.0, end)], end
    if right > left:
        count = math.ceil(math.log(right / left) / math.log(GROWTH) - 1e-9)
        edges = np.geomspace(left, right, count + 1)
        panels += list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    return panels


def rule(left: float, right: float) -> list[tuple[float, float]]:
    """Nodes and weights for an integral over gamma, ascending: in gamma from 0 on, else in its logarithm."""
    places, weights = np.polynomial.legendre.leggauss(NODES[left > 0])
    if left == 0:
        return list(zip((right * (1 + places) / 2).tolist(), (right * weights / 2).tolist(), strict=True))
    half = math.log(right / left) / 2
    nodes = left * np.exp(half * (1 + places))
    return list(zip(nodes.tolist(), (half * weights * nodes).tolist(), strict=True))


def averaged(values: np.ndarray, control: np.ndarray) -> Slope:
    """The mean of a series whose control has mean 0, by batch means, each less its control times a slope.

    The slope is that of the other batches, so that the product has mean 0 too: with one slope for all the mean would
    be biased by more than a tenth of its interval.
    """
    length = len(values) // BATCHES
    y, c = (each[-length * BATCHES :].reshape(BATCHES, length).mean(1) for each in (values, control))
    left = np.array([y[i] - _fitted(np.delete(c, i), np.delete(y, i)) * c[i] for i in range(BATCHES)])
    mean, error = float(left.mean()), float(left.std(ddof=1)) / math.sqrt(BATCHES)
    whole = float(np.var(values - _fitted(c, y) * control))
    effective = min(float(len(values)), whole / error**2) if error > 0 else float(len(values))
    drift = abs(float(left[: BATCHES // 2].mean() - left[BATCHES // 2 :].mean()))
    reason = ""
    if effective < LEAST:
        reason = f"{effective:.0f} effective samples, fewer than {LEAST:.0f}: more steps"
    elif drift > 8 * error:  # 4 of its own standard errors
        reason = "the chain drifts still: more steps"
    return Slope(mean, error, BATCHES - 2, effective, reason)


def _fitted(c: np.ndarray, y: np.ndarray) -> float:
    """The slope of y over c."""
    spread = float(((c - c.mean()) ** 2).sum())
    return float(((c - c.mean()) * y).sum()) / spread if spread > 0 else 0.0


def reach(variances: Sequence[tuple[float, float]]) -> float:
    """Half of the 95 % interval of a sum, by Student's t with Welch and Satterthwaite's degrees of freedom."""
    total = sum(variance for variance, _ in variances)
    if total == 0:
        return 0.0
    freedom = total**2 / sum(variance**2 / own for variance, own in variances)
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(total)
