"""Text of measured flatness: of one run, of groups of runs, and how it goes with the test score. Imports no torch."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ..tables import aligned

WIDTH = 100
ALIKE = 0.1  # relative difference of two training losses that are matched
DRAWS = 2000  # of the bootstrap
FEWEST = 6  # runs of which a rank correlation has an interval
CAUTION = (
    "Rank correlations over your own runs, and no more: adaptive sharpness is known not to predict generalisation in "
    "general (arXiv 2302.07011)."
)


def of_run(name: str, found: Mapping[str, Any]) -> str:
    """All numbers of one run, with their intervals and residuals, and how they were measured."""
    rows = [["measure", "value", "95 % interval or residual", ""]]
    for key, title in (("hessian", "Hessian"), ("gauss_newton", "Gauss-Newton")):
        rows += _matrix(title, found[key]) if key in found else []
    rows += [
        [f"layer {each['layer']}", number(each["eigenvalue"]), _residual(each["residual"], each["converged"]),
         f"top of {each['parameters']} x {each['parameters']}; trace {number(each['trace'])} "
         f"{_interval(each['trace_interval'])}"]
        for each in found.get("layers", [])
    ]  # fmt: skip
    for kind, each in found.get("sharpness", {}).items():
        size = f"{'sigma' if each['n'] else 'rho'} {each['size']:g}"
        notes = [
            size,
            *(["invariant"] if each["invariant"] else []),
            *([] if each["converged"] else ["ascent not at its end"]),
        ]
        rows.append([f"sharpness {kind}", number(each["value"]), _interval(each["interval"]), ", ".join(notes)])
    for point in found.get("local_entropy", []):
        told = "" if point["converged"] else f"not converged: {point['reason']}"
        error = f"+- {number(point['error'])}" if point["converged"] else "-"
        rows.append([f"local entropy {point['gamma']:g}", _resolved(point["value"], point["error"]), error, told])
    how = (textwrap.wrap(line, WIDTH, initial_indent="  ", subsequent_indent="  ") for line in _how(found))
    return "\n".join([name, *(f"  {line}" for line in aligned(rows, "<><<")), *(line for each in how for line in each)])


def _matrix(title: str, found: Mapping[str, Any]) -> list[list[str]]:
    rows = [
        [f"{title} {'top' if i == 0 else i + 1}", number(value), _residual(residual, value is not None), ""]
        for i, (value, residual) in enumerate(zip(found["eigenvalues"], found["residuals"], strict=True))
    ]
    if not found["converged"]:
        rows[-1][-1] = "not all converged"
    if "lowest" in found:
        rows.append([f"{title} lowest", number(found["lowest"]),
                     _residual(found["lowest_residual"], found["lowest_converged"]), ""])  # fmt: skip
    rows.append([f"{title} trace", number(found["trace"]), _interval(found["trace_interval"]), ""])
    return rows


def _how(found: Mapping[str, Any]) -> list[str]:
    lines = [
        f"loss {number(found['loss'])}, gradient {number(found['gradient_norm'])}, {found['parameters']} parameters, "
        f"{found['images']} training {found['examples']}s, {found['which']}",
        f"batch norm: {found['batch_norm']}; dropout, autocast and augmentation off; {found['dtype']}, seed "
        f"{found['seed']}",
    ]
    if points := found.get("local_entropy"):
        lines.append(
            f"local entropy: temperature {points[0]['temperature']:.3g}, {found['local_entropy_images']} "
            f"{found['examples']}s, whose loss is {number(found['local_entropy_loss'])}"
        )
    return lines


def number(value: float | None) -> str:
    """Four digits; "-" for none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.4g}"


def _resolved(value: float | None, error: float | None) -> str:
    """To a digit more than the error leaves, and four at least; as u is f and a little more."""
    if value is None or not error or not 0 < error < abs(value):
        return number(value)
    return f"{value:.{max(4, 1 + math.ceil(math.log10(abs(value) / error)))}g}"


def _interval(pair: Sequence[float] | None) -> str:
    return "-" if pair is None else f"[{number(pair[0])}, {number(pair[1])}]"


def _residual(value: float | None, converged: bool) -> str:
    return f"residual {number(value)}" + ("" if converged else ", not converged")


@dataclass(frozen=True)
class Measured:
    """A run with its numbers: training loss, test score, and measures by name."""

    label: str
    loss: float
    score: float | None
    values: Mapping[str, float]


def of_groups(runs: Sequence[Measured], score: str) -> str:
    """A row for each group: the mean over its runs of the training loss, the score and all measures."""
    names = list(dict.fromkeys(name for run in runs for name in run.values))
    groups: dict[str, list[Measured]] = {}
    for run in runs:
        groups.setdefault(run.label, []).append(run)
    rows = [["mean over n runs", *groups]]
    rows.append(["n", *(str(len(group)) for group in groups.values())])
    rows.append(["training loss", *(_mean([run.loss for run in group]) for group in groups.values())])
    scores = [[run.score for run in group if run.score is not None] for group in groups.values()]
    rows.append([score.replace("_", " "), *map(_mean, scores)])
    for name in names:
        values = [[run.values[name] for run in group if name in run.values] for group in groups.values()]
        counts = ["" if len(own) in (0, len(group)) else f" (n {len(own)})"
                  for own, group in zip(values, groups.values(), strict=True)]  # fmt: skip
        rows.append([name, *(_mean(own) + count for own, count in zip(values, counts, strict=True))])
    return "\n".join(aligned(rows, "<" + ">" * len(groups)))


def _mean(values: Sequence[float]) -> str:
    if not values:
        return "-"
    spread = f" +- {number(float(np.std(values, ddof=1)))}" if len(values) > 1 else ""
    return number(float(np.mean(values))) + spread


@dataclass(frozen=True)
class Rank:
    """Kendall's tau of a measure with the test score over n runs, with its bootstrap interval; None: too few runs.

    matched: the same over the `pairs` of runs whose training losses differ by at most a tenth.
    """

    n: int
    tau: float | None
    low: float | None
    high: float | None
    matched: float | None
    pairs: int


def rank(values: Sequence[float], scores: Sequence[float], losses: Sequence[float], seed: int = 0) -> Rank:
    """Kendall's tau (b) with the percentile interval of 2,000 bootstrap samples of the runs."""
    from scipy.stats import kendalltau

    x, y, f = (np.asarray(each, dtype=float) for each in (values, scores, losses))
    n = len(x)
    tau = float(kendalltau(x, y).statistic) if n > 1 else math.nan
    low = high = math.nan
    if n >= FEWEST:
        draws = np.random.default_rng(seed).integers(n, size=(DRAWS, n))
        found = _taus(x, y, draws)
        if np.isfinite(found).any():
            low, high = map(float, np.nanquantile(found, [0.025, 0.975]))
    if high - low < 1e-9:  # of a tau of 1: samples of the same runs know nothing of other ones
        low = high = math.nan
    signs = [
        np.sign((x[i] - x[j]) * (y[i] - y[j]))
        for i, j in combinations(range(n), 2)
        if abs(f[i] - f[j]) <= ALIKE * max(abs(f[i]), abs(f[j]))
    ]
    matched = float(np.mean(signs)) if signs else math.nan
    tau, low, high, matched = (each if math.isfinite(each) else None for each in (tau, low, high, matched))  # type: ignore[assignment]
    return Rank(n, tau, low, high, matched, len(signs))


def _taus(x: np.ndarray, y: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Kendall's tau (b) of x and y in each draw of runs, (draws, n); nan where one of them is constant."""
    of_x, of_y = (np.sign(each[:, None] - each) for each in (x, y))
    counts = np.stack([(draws == i).sum(1) for i in range(len(x))], 1).astype(float)
    products = (np.einsum("di,ij,dj->d", counts, signs, counts, optimize=True)
                for signs in (of_x * of_y, of_x**2, of_y**2))  # fmt: skip
    both, one, other = products
    with np.errstate(invalid="ignore", divide="ignore"):
        found: np.ndarray = both / np.sqrt(one * other)
    return found


def of_ranks(runs: Sequence[Measured], score: str) -> str:
    """Kendall's tau of each measure with the test score, at matched training loss too where runs differ in it."""
    scored = [run for run in runs if run.score is not None]
    if len(scored) < 3:
        return f"Of {len(scored)} runs with a {score.replace('_', ' ')} there is no rank correlation: three are needed."
    losses = [run.loss for run in scored]
    differ = max(losses) - min(losses) > ALIKE * max(map(abs, losses))
    names = dict.fromkeys(name for run in scored for name in run.values)
    rows = [["measure", "n", "tau", "95 %", *(["matched", "pairs"] if differ else [])]]
    for name in ("training loss", *names):
        own = [run for run in scored if name in run.values or name == "training loss"]
        values = [run.loss if name == "training loss" else run.values[name] for run in own]
        found = rank(values, [float(run.score or 0) for run in own], [run.loss for run in own])
        interval = "-" if found.low is None else f"[{_signed(found.low)}, {_signed(found.high)}]"
        matched = [_signed(found.matched), str(found.pairs)] if differ else []
        rows.append([name, str(found.n), _signed(found.tau), interval, *matched])
    lines = [f"Kendall's tau with {score.replace('_', ' ')} over runs; interval: bootstrap over runs, 95 %"]
    lines += [f"  {line}" for line in aligned(rows, "<>>>" + ">>" * differ)]
    if differ:
        lines.append("  The training losses differ by more than a tenth. matched: over the pairs of runs where they do "
                     "not.")  # fmt: skip
    return "\n".join([*lines, *textwrap.wrap(CAUTION, WIDTH, initial_indent="  ", subsequent_indent="  ")])


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"
