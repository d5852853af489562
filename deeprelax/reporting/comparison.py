"""Group runs, compare the groups, and collect warnings and the runs that are in no row."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import UserError, did_you_mean
from ..records.scores import resolution
from ..tasks.metric import Metric
from .budgets import flag, same_budget
from .groups import ABSENT, METHOD, Group, group, matches, resolve_key, split
from .loading import Run
from .rows import Comparison, Row, Table, add_flatness, traffic
from .summary import Difference, paired_difference, summarize

NOT_METRICS = {
    "seed", "epochs", "batch_size", "budget", "gradient_evaluations", "outer_steps", "skipped_steps", "parameters",
    "training_images", "test_images", "validation_images", "examples", "images_per_second", "examples_per_second",
    "threads", "ranks", "best_gradient_evaluations", "best_passes", "traffic_bytes",
}  # fmt: skip
DATA = ("dataset.path", "dataset.train_size", "dataset.validation")
PROBLEM = ("task.name", "dataset.name", "model.name", *DATA)  # one table each
SAME = ("task.", "dataset.", "model.")  # settings that a row must share with its baseline


def compare(
    runs: Sequence[Run], metric: str | None = None, by: Sequence[str] | None = None, baseline: str | None = None
) -> Comparison:
    """Group the runs and compare the groups by `metric`, a key of result.json, or None for what each task has first.

    by: keys to group by, which may be short ("gamma"), or None for all in which the runs differ. baseline:
    "KEY=VALUE,..." that the baseline's runs have, or None for those of SGD, if there are any.
    Raises UserError for a key or metric that no run has, and for a baseline that no run meets.
    """
    parts = split(runs, PROBLEM)
    tables = [_empty_table(part, metric) for part in parts]
    _check_metrics(tables, runs)
    keys = None if by is None else list(dict.fromkeys(resolve_key(name, runs) for name in by))
    conditions = _conditions(baseline or "optimizer=sgd", runs)
    if baseline is not None and not any(_meets(run, conditions) for run in runs):
        raise UserError(f"--baseline {baseline}: no run is of this kind")
    metric_of = {id(run): table.metric for table, part in zip(tables, parts, strict=True) for run in part}
    uncounted = [(run, run.state, run.reason) for run in runs if not run.finished]
    notes: list[str] = []
    kept: list[Run] = []
    # Split by all settings, so that a part holds repetitions of one configuration: the first run of a seed counts. A
    # second one, of another output_dir perhaps, would make that seed weigh twice.
    for same in split([run for run in runs if run.finished], sorted({key for run in runs for key in run.settings})):
        once: dict[int, Run] = {}
        for run in same:
            key = metric_of[id(run)]
            if not _has_metric(run, key):
                uncounted.append((run, "finished", f"its result has no number {key}"))
            elif (other := once.setdefault(run.seed, run)) is not run:
                uncounted.append((run, "again", f"the same configuration and seed as {other.directory}"))
                notes += _contradiction(run, other, key)
        kept += once.values()
    for table, part in zip(tables, parts, strict=True):
        _fill(table, part, set(map(id, kept)), keys, conditions)
    return Comparison(tables, uncounted, [*notes, *_notes(kept, {table.metric for table in tables})])


def _empty_table(runs: Sequence[Run], metric: str | None) -> Table:
    """For runs of one problem; what a run of it that failed early does not tell of its metrics, another one does."""
    telling = next((run for run in runs if run.metrics), runs[0])
    return Table(title_of(runs[0]), metric or telling.compared_by, telling.metrics)


def _has_metric(run: Run, name: str) -> bool:
    value = run.result.get(name)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and name not in NOT_METRICS


def _check_metrics(tables: Sequence[Table], runs: Sequence[Run]) -> None:
    """Raise UserError if there are results, but none has what is compared."""
    metrics = sorted({name for run in runs for name in run.result if _has_metric(run, name)})
    if metrics and not any(table.metric in metrics for table in tables):
        raise UserError(_no_metric(tables[0].metric, metrics, runs))


def _no_metric(metric: str, metrics: Sequence[str], runs: Sequence[Run]) -> str:
    if any(metric in run.result for run in runs):
        return f"--metric {metric} is no number to compare runs by: there are {', '.join(metrics)}"
    there = f"there are {', '.join(metrics)}"
    split, _, score = metric.partition("_") if "_" in metric else ("", "", metric)
    if split and "validation".startswith(split):  # val_error too
        if not any(name.startswith("validation_") for name in metrics):
            return f"--metric {metric}: no run held {_examples(runs)} out (dataset.validation=N): {there}"
        split = "validation"
    near = did_you_mean(f"{split}_{score}" if split else metric, metrics)
    return f"--metric {metric}: no run has it{near}: {there}"


def _contradiction(run: Run, counted: Run, metric: str) -> list[str]:
    """A note if two runs of one configuration and seed have different results, else nothing."""
    mine, theirs = run.result[metric], counted.result[metric]
    if mine == theirs:
        return []
    return [
        f"one configuration and seed, two results: {metric} is {theirs:g} in {counted.directory}, which is counted, "
        f"and {mine:g} in {run.directory}, which is not"
    ]


def _conditions(baseline: str, runs: Sequence[Run]) -> dict[str, str]:
    conditions = {}
    for condition in baseline.split(","):
        name, equals, text = condition.partition("=")
        if not equals:
            raise UserError(f"--baseline {baseline} cannot be read: write KEY=VALUE, as optimizer=sgd")
        conditions[resolve_key(name, runs)] = text
    return conditions


def _meets(run: Run, conditions: dict[str, str]) -> bool:
    return all(matches(run.settings.get(key, ABSENT), text) for key, text in conditions.items())


def _fill(table: Table, runs: list[Run], kept: set[int], by: Sequence[str] | None, conditions: dict[str, str]) -> None:
    """Group the table's runs, those in `kept` counting, and set its rows and baseline."""
    rows = [_row(each, [run for run in each.runs if id(run) in kept], table.metric) for each in group(runs, by)]
    found = [row for row in rows if row.counted and all(_meets(run, conditions) for run in row.counted)]
    flag(rows, found)
    add_flatness(rows)
    seeds = {run.seed for run in runs}
    for row in rows:
        row.missing_seeds = sorted(seeds - {run.seed for run in row.counted})
    table.rows = sorted(rows, key=lambda row: _rank(row, table.shown_as))
    for row in table.rows:  # after `flag`, which decides what is comparable
        _difference(row, found, table)
    table.baseline = found[0].group.label if len(found) == 1 else ""


def title_of(run: Run) -> str:
    task, data, model, *parts = (run.settings.get(key) for key in PROBLEM)
    details = [f"{key.rpartition('.')[2]} {value}" for key, value in zip(DATA, parts, strict=True) if value]
    if task is None:
        return ", ".join([f"{model} on {data}", *details])
    own = data in (None, "none")  # the task needs no data set
    return ", ".join([f"{model} on {task if own else data}", *([] if own else [f"task {task}"]), *details])


def _row(each: Group, counted: list[Run], metric: str) -> Row:
    row = Row(
        each,
        counted,
        summarize([run.result[metric] for run in counted]),
        summarize([run.result["gradient_evaluations"] for run in counted]).mean,
        summarize([run.result["seconds"] for run in counted]).mean,
        sorted({run.result["budget"] for run in counted}),
        traffic(counted),
    )
    pooled = [key for key in sorted(each.runs[0].settings) if len(split(each.runs, [key])) > 1]
    if pooled:
        row.notes.append(f"pools runs that differ in {', '.join(pooled)}: the spread is not over seeds alone")
    skipped = {run.seed: run.result.get("skipped_steps", 0) for run in counted}
    row.notes += [f"seed {seed}: {n} steps were not finite and skipped" for seed, n in sorted(skipped.items()) if n]
    row.notes += [f"seed {run.seed}: not finite" for run in counted if not math.isfinite(run.result[metric])]
    return row


def _rank(row: Row, metric: Metric) -> tuple[bool, bool, bool, float]:
    """The sort key of rows: best mean first, then non-finite means, other budgets, and rows without a result."""
    mean = row.summary.mean
    known = mean is not None and math.isfinite(mean)
    return (not row.counted, not row.comparable, not known, metric.cost(mean) if known and mean is not None else 0.0)


def _difference(row: Row, baselines: list[Row], table: Table) -> None:
    """Set the row's difference from its baseline, paired by seed; leave it None if there is no baseline for it.

    Several rows may meet the baseline's conditions, as SGD with two batch sizes. Candidates are those of the same data
    set, network and budget. Of these the one is taken that differs in the fewest settings outside optimizer and
    schedule, and of several that differ as little the best: a difference from a badly tuned baseline would flatter.
    """
    row.is_baseline = any(row is other for other in baselines)
    if row.is_baseline or not row.counted or not baselines:
        return
    alike = [base for base in baselines if _same_problem(row, base)]
    if not alike:
        if row.comparable:
            task = "task, " * ("task.name" in row.group.runs[0].settings)
            row.notes.append(f"no run of the baseline has its {task}data and network: no difference")
        return
    base = min(alike, key=lambda base: (_apart(row, base), _rank(base, table.shown_as)))
    row.difference_from = base.group.label
    if len(baselines) > 1:
        others = [other for other in alike if _apart(row, other) == _apart(row, base)]
        row.notes.append(f"its difference is from {base.group.label}" + (", the best of them" * (len(others) > 1)))
    mine, theirs = _by_seed(row.counted, table.metric), _by_seed(base.counted, table.metric)
    if mine is None or theirs is None:  # grouped by too few keys to pair the runs
        row.difference = Difference(0, None, None, None, "a seed occurs twice")
        return
    one = max(resolution(table.metric, table.metrics, run.result) for run in (*row.counted, *base.counted))
    row.difference = paired_difference(mine, theirs, one)
    row.notes += _few_examples(row.difference, one, table)
    for seeds, whose in ((mine.keys() - theirs.keys(), "its"), (theirs.keys() - mine.keys(), "the baseline's")):
        if seeds and row.difference.pairs:
            listed = ", ".join(map(str, sorted(seeds)))
            row.notes.append(f"{whose} seeds without a partner are in no difference: {listed}")


def _few_examples(found: Difference, one: float, table: Table) -> list[str]:
    """A note if a difference is under two examples, of which each changes the metric by `one`, else nothing."""
    if found.mean is None or one == 0 or round(abs(found.mean) / one, 6) >= 2:
        return []
    metric, split = table.shown_as, table.metric.partition("_")[0]
    return [f"its difference is under two {split} {metric.share_of} (one is {one:.2g} {metric.unit}".rstrip() + ")"]


def _apart(row: Row, base: Row) -> int:
    """The number of settings, such as batch_size, that differ; those of optimizer and schedule do not count."""
    keys = {key for each in (row.group, base.group) for key in each.runs[0].settings if not key.startswith(METHOD)}
    return sum(row.group.setting(key) != base.group.setting(key) for key in keys)


def _same_problem(row: Row, base: Row) -> bool:
    """Whether data set, network and budget are the same."""
    one, other = row.group, base.group
    keys = {key for run in (one.runs[0], other.runs[0]) for key in run.settings if key.startswith(SAME)}
    return all(one.setting(key) == other.setting(key) for key in keys) and all(
        same_budget(run, base.counted[0]) for run in row.counted
    )


def _by_seed(runs: list[Run], metric: str) -> dict[int, float] | None:
    """seed -> metric; None if two runs have the same seed."""
    values = {run.seed: float(run.result[metric]) for run in runs}
    return values if len(values) == len(runs) else None


def _examples(runs: Sequence[Run]) -> str:
    """What the examples of all these runs are called."""
    return runs[0].examples if len({run.examples for run in runs}) == 1 else "examples"


def _notes(runs: list[Run], metrics: set[str]) -> list[str]:
    """The warnings that concern all runs: hardware, batch sizes, selection on test data, library versions."""
    notes, examples = [], _examples(runs)
    hardware = {tuple(run.result.get(key) for key in ("device", "threads", "ranks")) for run in runs}
    if len(hardware) > 1:
        listed = sorted(f"{device}, threads {threads}, ranks {ranks}" for device, threads, ranks in hardware)
        notes.append(f"seconds are not comparable: the runs were made in different ways ({'; '.join(listed)})")
    sizes = sorted({run.result["batch_size"] for run in runs})
    if len(sizes) > 1:
        of = " and ".join(map(str, sizes))
        notes.append(f"gradient evaluations are of {of} {examples}: hold the curves against --x passes")
    kind = "_average" * all(metric.endswith("_average") for metric in metrics)
    held_out = {id(run): run.compared_by.replace("test_", "validation_", 1) + kind for run in runs}
    by_test = runs and all(metric.startswith("test_") for metric in metrics)
    if by_test and all(_has_metric(run, held_out[id(run)]) for run in runs):
        better = f"--metric {' or '.join(sorted(set(held_out.values())))}"
        notes.append(f"these runs held {examples} out: choose settings by {better}, not by test {examples}")
    return notes + [
        f"the runs were made with different versions of {name}: {', '.join(sorted(found))}"
        for name in sorted({name for run in runs for name in run.versions})
        if len(found := {str(run.versions[name]) for run in runs if run.versions.get(name)}) > 1
    ]
