"""Hold a comparison: tables of rows, notes, and the runs that are in no row."""

from __future__ import annotations

from dataclasses import dataclass, field

from .groups import Group
from .loading import Run
from .summary import Difference, Summary


@dataclass
class Row:
    """One group with its numbers; `notes` are printed below the table."""

    group: Group
    counted: list[Run]  # the finished runs that have the metric
    summary: Summary
    evaluations: float | None  # gradient evaluations, mean over the runs
    seconds: float | None  # wall time, mean over the runs
    budgets: list[int]  # gradient evaluations, as configured: one, if all runs agree
    comparable: bool = True
    unusual_cost: bool = False  # over 2 % more or fewer gradient evaluations than others of the same budget
    difference: Difference | None = None  # None: it is the baseline, or there is nothing to compare it with
    difference_from: str = ""  # label of the row that it was taken from
    is_baseline: bool = False
    missing_seeds: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Table:
    """One network on one data set. Rows: best first, then those of another budget, then those without a result."""

    title: str
    rows: list[Row]
    baseline: str = ""  # label of the row that differences are taken from, if it is one


@dataclass
class Comparison:
    """All tables of a comparison by `metric`, with notes on all runs and the runs that are in no mean."""

    metric: str
    tables: list[Table]
    uncounted: list[tuple[Run, str, str]]  # run, state, reason
    notes: list[str]
