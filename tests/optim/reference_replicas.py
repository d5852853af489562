"""The rules of the methods with replicas in their plain form, as `reference.py` has those of the others.

Each replica has a sequence of Gaussians of its own, `of_replicas`. A rule moves the replicas, which it keeps, by
itself, and returns the d of their mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from .reference import OUTER, Direction, Rule, entropy_sgd


def parle(
    x: Tensor, xi: Iterator[Tensor], k: int, *, replicas: int, gamma: float, gamma_min: float, rho: float,
    rho_min: float, scoping: float, kept: dict[str, Any], of_replicas: list[Iterator[Tensor]], **group: Any,
) -> Direction:  # fmt: skip
    """Of each replica x_a a chain of Entropy-SGD in f(y) + |y - x_a|^2/(2 gamma_k), with d_a = x_a - its average; then

    x_a <- x_a - lr (d_a + (x_a - x)/rho_k) and d = the mean of d_a.   gamma_k = max(gamma/(1 + scoping)^k, gamma_min)
    """
    gamma, rho = (max(t / (1 + scoping) ** k, least) for t, least in ((gamma, gamma_min), (rho, rho_min)))
    places, chain, d = kept.setdefault("x", [x] * replicas), {"scoping": 0.0, "inner": "momentum"}, list[Tensor]()
    for place, z in zip(places, of_replicas, strict=True):
        options = {**group, **chain, "gamma": gamma, "inner_state": "reset", "kept": {}}
        d.append((yield from entropy_sgd(place, z, k, **options)))
    _descend(places, [d_a.add(x_a - x, alpha=1 / rho) for d_a, x_a in zip(d, places, strict=True)], kept, group)
    return sum(d[1:], d[0]) / replicas


def elastic_sgd(
    x: Tensor, xi: Iterator[Tensor], k: int, *, replicas: int, moving_rate: float, kept: dict[str, Any], **group: Any
) -> Direction:
    """x_a <- x_a - lr grad f(x_a) - a (x_a - c) and c <- c + n a (x - c), a = moving_rate/n; so x, the mean, goes by
    d = the mean of grad f(x_a), and then by -a (x - c).
    """
    places, c, d = kept.setdefault("x", [x] * replicas), kept.get("c", x), list[Tensor]()
    for place in places:
        d.append((yield place))
    ahead = [x_a - c for x_a in places]
    _descend(places, d, kept, group)
    places[:] = [x_a.add(off, alpha=-moving_rate / replicas) for x_a, off in zip(places, ahead, strict=True)]
    kept["c"], kept["then"] = c.add(x - c, alpha=moving_rate), (x - c) * (-moving_rate / replicas)
    return sum(d[1:], d[0]) / replicas


def replicated_sgd(
    x: Tensor, xi: Iterator[Tensor], k: int, *, replicas: int, coupling: float, scoping: float, kept: dict[str, Any],
    **group: Any,
) -> Direction:  # fmt: skip
    """x_a <- x_a - lr (grad f(x_a) + 2 g_k (x_a - x)) and d = the mean of grad f(x_a).   g_k = g (1 + scoping)^k"""
    places, g, d = kept.setdefault("x", [x] * replicas), coupling * (1 + scoping) ** k, list[Tensor]()
    for place in places:
        d.append((yield place))
    _descend(places, [d_a.add(x_a - x, alpha=2 * g) for d_a, x_a in zip(d, places, strict=True)], kept, group)
    return sum(d[1:], d[0]) / replicas


def _descend(places: list[Tensor], directions: list[Tensor], kept: dict[str, Any], group: dict[str, Any]) -> None:
    """Each replica by the outer rule, with a velocity of its own."""
    states = kept.setdefault("of_replicas", [{} for _ in places])
    rule = OUTER["momentum"]
    places[:] = [rule(*each, decay=0.0, **group) for each in zip(places, directions, states, strict=True)]


# by their rows in the table
WITH_REPLICAS: dict[str, Rule] = {"parle": parle, "elastic_sgd": elastic_sgd, "replicated_sgd": replicated_sgd}
