"""What it cost to reach a target: gradient evaluations and seconds at the first evaluation of x that did, by run.

Over seeds the median is taken, which a run that missed enters as infinity: a mean would need a value for it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from ..errors import UserError
from ..records.scores import score_of
from .curves import points, split_of
from .loading import Run
from .rows import Comparison, Cost, Row, Table

NAMES = ("dataset.name", "task.name", "model.name")  # by which --target may mean a table


def aim(comparison: Comparison, given: Sequence[str]) -> None:
    """Set the target of each table and the cost of reaching it of each row.

    given: VALUE for all tables, NAME=VALUE for those of a data set, a task or a network, in the unit of their metric.
    Raises UserError if one cannot be read or meant, and for a metric that records of evaluations lack.
    """
    targets = dict(map(_read, given))
    known = {name for table in comparison.tables for name in _names(table)}
    for name in targets:
        if name and name not in known:
            raise UserError(
                f"--target {name}=...: there is no such data set, task or network: {', '.join(sorted(known))}"
            )
    for table in comparison.tables:
        mine = [value for name, value in targets.items() if name in _names(table)]
        table.target = mine[0] if mine else targets.get("")
        if table.target is not None:
            _fill(table, table.target)


def _read(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"--target {text} cannot be read: give a number, or NAME=NUMBER, as mnist=1.0")
    return name.strip(), value


def _names(table: Table) -> set[str]:
    """What the table's problem is called."""
    settings = table.rows[0].group.runs[0].settings
    return {"classification", *(str(settings[key]) for key in NAMES if key in settings)} - {"none"}


def _fill(table: Table, target: float) -> None:
    score = score_of(table.metric, table.metrics)
    name = "loss" if score == "loss" else table.drawn
    if name.removesuffix("_average") != score:
        raise UserError(
            f"--target: {table.metric} is not in the records of evaluations, by which runs reach a target: --metric "
            f"test_{table.drawn} is"
        )
    smaller = table.shown_as.smaller_is_better
    for row in table.rows:
        found = [_reached(run, split_of(table.metric), name, target, smaller=smaller) for run in _attempts(row)]
        if found:
            evaluations, seconds = (statistics.median(values) for values in zip(*found, strict=True))
            row.cost = Cost(len(found), sum(math.isfinite(each) for each, _ in found), evaluations, seconds)


def _attempts(row: Row) -> list[Run]:
    """The runs that count, and those that failed and were not made again: not to reach a target is a result."""
    seeds = {run.seed for run in row.counted}
    return [*row.counted, *(run for run in row.group.runs if run.state == "failed" and run.seed not in seeds)]


def _reached(run: Run, split: str, name: str, target: float, *, smaller: bool) -> tuple[float, float]:
    """Gradient evaluations and seconds until then; both infinite if it never did."""
    evaluations, values = points(run, split, "evaluations", name)
    seconds, _ = points(run, split, "seconds", name)
    for spent, took, value in zip(evaluations.tolist(), seconds.tolist(), values.tolist(), strict=True):
        if value <= target if smaller else value >= target:
            return spent, took
    return math.inf, math.inf
