"""Runs to a comparison: rows of groups, what must be said about them, and the runs that are in no row."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import UserError
from ..registry import did_you_mean
from .budgets import flag, same_budget
from .groups import ABSENT, Group, group, matches, resolve_key, split
from .rows import Block, Comparison, Row
from .runs import Run
from .statistics import Difference, paired_difference, summarize

NOT_METRICS = {
    "seed", "epochs", "batch_size", "budget", "gradient_evaluations", "outer_steps", "skipped_steps", "parameters",
    "training_images", "images_per_second", "threads", "ranks",
}  # fmt: skip
PROBLEM = ("dataset.name", "model.name", "dataset.path", "dataset.train_size", "dataset.validation")  # one table each
SAME = ("dataset.", "model.")  # settings that a row shares with its baseline


def compare(
    runs: Sequence[Run], metric: str, by: Sequence[str] | None = None, baseline: str | None = None
) -> Comparison:
    """Group the runs and compare the groups by `metric`, a key of result.json of which less is better.

    by: words for keys to group by, None for all that differ; baseline: KEY=VALUE,... that a baseline's runs have, None
    for those of SGD if there are any.
    Raises UserError for words that fit no key, a metric that no run has, and a baseline that no run is.
    """
    metrics = sorted({name for run in runs for name in run.result if _is_metric(run, name)})
    if metrics and metric not in metrics:
        raise UserError(
            f"--metric {metric}: no run has it{did_you_mean(metric, metrics)}: there are {', '.join(metrics)}"
        )
    keys = None if by is None else [resolve_key(word, runs) for word in by]
    conditions = _conditions(baseline or "optimizer=sgd", runs)
    if baseline is not None and not any(_meets(run, conditions) for run in runs):
        raise UserError(f"--baseline {baseline}: no run is of this kind")
    uncounted = [(run, run.state, run.reason) for run in runs if not run.finished]
    kept = []
    for part in split([run for run in runs if run.finished], sorted({key for run in runs for key in run.settings})):
        first: dict[int, Run] = {}
        for run in part:
            if first.setdefault(run.seed, run) is not run:
                uncounted.append((run, "again", f"the same configuration and seed as {first[run.seed].directory}"))
            elif metric not in run.result:
                uncounted.append((run, "finished", f"its result has no {metric}"))
        kept += [run for run in first.values() if metric in run.result]
    blocks = [_block(part, set(map(id, kept)), metric, keys, conditions) for part in split(runs, PROBLEM)]
    return Comparison(metric, blocks, uncounted, _notes(kept))


def _is_metric(run: Run, name: str) -> bool:
    return isinstance(run.result[name], int | float) and name not in NOT_METRICS


def _conditions(baseline: str, runs: Sequence[Run]) -> dict[str, str]:
    conditions = {}
    for word in baseline.split(","):
        name, equals, text = word.partition("=")
        if not equals:
            raise UserError(f"--baseline {baseline} cannot be read: write KEY=VALUE, as optimizer=sgd")
        conditions[resolve_key(name, runs)] = text
    return conditions


def _meets(run: Run, conditions: dict[str, str]) -> bool:
    return all(matches(run.settings.get(key, ABSENT), text) for key, text in conditions.items())


def _block(runs: list[Run], kept: set[int], metric: str, by: Sequence[str] | None, conditions: dict[str, str]) -> Block:
    rows = [_row(each, [run for run in each.runs if id(run) in kept], metric) for each in group(runs, by)]
    found = [row for row in rows if row.counted and all(_meets(run, conditions) for run in row.counted)]
    flag(rows, found)
    seeds = {run.seed for run in runs}
    for row in rows:
        row.missing_seeds = sorted(seeds - {run.seed for run in row.counted})
    rows.sort(key=_rank)
    for row in rows:
        _difference(row, found, metric)
    return Block(_title(runs[0]), rows, found[0].group.label if len(found) == 1 else "")


def _title(run: Run) -> str:
    data, model, *parts = (run.settings.get(key) for key in PROBLEM)
    details = [f"{key.rpartition('.')[2]} {value}" for key, value in zip(PROBLEM[2:], parts, strict=True) if value]
    return ", ".join([f"{model} on {data}", *details])


def _row(each: Group, counted: list[Run], metric: str) -> Row:
    budgets = sorted({run.result["budget"] for run in counted})
    row = Row(
        each,
        counted,
        summarize([run.result[metric] for run in counted]),
        summarize([run.result["gradient_evaluations"] for run in counted]).mean,
        summarize([run.result["seconds"] for run in counted]).mean,
        " and ".join(map(str, budgets)),
    )
    pooled = [key for key in sorted(each.runs[0].settings) if len(split(each.runs, [key])) > 1]
    if pooled:
        row.notes.append(f"pools runs that differ in {', '.join(pooled)}: the spread is not over seeds alone")
    skipped = {run.seed: run.result.get("skipped_steps", 0) for run in counted}
    row.notes += [f"seed {seed}: {n} steps were not finite and left out" for seed, n in sorted(skipped.items()) if n]
    return row


def _rank(row: Row) -> tuple[bool, bool, bool, float]:
    mean = row.summary.mean
    known = mean is not None and math.isfinite(mean)
    return (not row.counted, not row.comparable, not known, mean if known and mean is not None else 0.0)


def _difference(row: Row, baselines: list[Row], metric: str) -> None:
    """From the best baseline of the same data, network and budget; from none if there is no such one."""
    row.is_baseline = any(row is other for other in baselines)
    if row.is_baseline or not row.counted or not baselines:
        return
    alike = [base for base in baselines if _same_problem(row, base)]
    if not alike:
        if row.comparable:
            row.notes.append("no run of the baseline has its data and network: no difference")
        return
    base = min(alike, key=_rank)
    if len(baselines) > 1:
        row.notes.append(f"its difference is from {base.group.label}" + (", the best of them" * (len(alike) > 1)))
    mine, theirs = _by_seed(row.counted, metric), _by_seed(base.counted, metric)
    if mine is None or theirs is None:
        row.difference = Difference(0, None, None, None, "a seed occurs twice")
    else:
        row.difference = paired_difference(mine, theirs)
        if row.difference.pairs < max(len(mine), len(theirs)):
            row.notes.append(f"its difference is over {row.difference.pairs} of its {len(mine)} seeds")


def _same_problem(row: Row, base: Row) -> bool:
    one, other = row.group, base.group
    keys = {key for run in (one.runs[0], other.runs[0]) for key in run.settings if key.startswith(SAME)}
    return all(one.setting(key) == other.setting(key) for key in keys) and all(
        same_budget(run, base.counted[0]) for run in row.counted
    )


def _by_seed(runs: list[Run], metric: str) -> dict[int, float] | None:
    values = {run.seed: float(run.result[metric]) for run in runs}
    return values if len(values) == len(runs) else None


def _notes(runs: list[Run]) -> list[str]:
    places = {tuple(run.result.get(key) for key in ("device", "threads", "ranks")) for run in runs}
    if len(places) < 2:
        return []
    listed = "; ".join(f"{device}, threads {threads}, ranks {ranks}" for device, threads, ranks in sorted(places))
    return [f"seconds are not comparable: the runs were made in different ways ({listed})"]
