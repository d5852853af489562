"""PDE-FIND, the rival of task=estimation: pysindy on as many noisy values, on a grid, which it needs.

    python -m tests.tasks.sindy

prints the table of docs/tasks.md. Source of the method: Rudy, Brunton, Proctor and Kutz, arXiv 1609.06401.
"""

from __future__ import annotations

import statistics
import warnings
from typing import Any

import numpy as np
import torch

from deeprelax.tasks.estimation.dictionary import Dictionary
from deeprelax.tasks.estimation.known import CATALOG

TIMES, PLACES, EDGE = 25, 40, 3
# of the left sides and right sides that PDE-FIND is given: the equation's own left side, and the dictionary's others
ORDER = {"hjb": 1, "wave": 2, "burgers": 1}
THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)


def error(name: str, noise: float, seed: int) -> float:
    """sqrt(1 - <c, c_true>^2) at the best threshold and differences, chosen by the truth: a bound on what it can do."""
    import pysindy

    known = CATALOG[name]
    assert known.solution is not None
    t, x = (np.linspace(a, b, n) for a, b, n in zip(known.low, known.high, (TIMES, PLACES), strict=True))
    points = torch.cartesian_prod(torch.from_numpy(t), torch.from_numpy(x))
    u = known.solution(points, known.true).reshape(TIMES, PLACES).numpy()
    u = u + noise * u.std(ddof=1) * np.random.default_rng(seed).standard_normal(u.shape)
    found = [_best(name, u, t, x, rule) for rule in (pysindy.FiniteDifference(), pysindy.SmoothedFiniteDifference())]
    return min(found)


def _best(name: str, u: Any, t: Any, x: Any, rule: Any) -> float:
    """With one way to differentiate, at the best threshold."""
    import pysindy

    known = CATALOG[name]
    u_t, u_x = rule._differentiate(u, t), rule._differentiate(u.T, x).T
    u_xx = rule._differentiate(u_x.T, x).T
    values = {"u": u, "u_x": u_x, "u_xx": u_xx, "u**2": u**2, "u*u_x": u * u_x, "u_x**2": u_x**2}
    left = u_t
    if ORDER[name] == 2:
        values["u_t"], left = u_t, rule._differentiate(u_t, t)
    inner = (slice(EDGE, -EDGE), slice(EDGE, -EDGE))  # at the edges differences are one-sided
    values, left = {term: value[inner] for term, value in values.items()}, left[inner]
    names = [term for term in Dictionary(known.terms, known.inputs).names if term in values]
    matrix = np.stack([values[term].ravel() for term in names], 1)
    dictionary = Dictionary(", ".join(["u_tt" if ORDER[name] == 2 else "u_t", *names]), known.inputs)
    truth = dictionary.vector(known.coefficients(known.true), known.true).numpy()
    errors = []
    for threshold in THRESHOLDS:
        optimizer = pysindy.STLSQ(threshold=threshold, normalize_columns=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = np.asarray(optimizer.fit(matrix, left.reshape(-1, 1)).coef_).ravel()
        c = np.concatenate([[1.0], -found])
        errors.append(float(np.sqrt(max(0.0, 1 - (c @ truth / np.linalg.norm(c)) ** 2))))
    return min(errors)


if __name__ == "__main__":
    for name, noise in (("hjb", 0.316), ("wave", 0.1), ("burgers", 0.1), ("hjb", 0.0), ("wave", 0.0), ("burgers", 0.0)):
        found = [error(name, noise, seed) for seed in range(1, 6)]
        print(
            f"{name:<8} noise {noise:<6g} median {statistics.median(found):.3g} ({min(found):.3g} to {max(found):.3g})"
        )
