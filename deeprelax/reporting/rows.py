"""What a comparison consists of."""

from __future__ import annotations

from dataclasses import dataclass, field

from .groups import Group
from .runs import Run
from .statistics import Difference, Summary


@dataclass
class Row:
    """One group with its numbers; `notes` are sentences below the table."""

    group: Group
    counted: list[Run]  # the finished runs that have the metric
    summary: Summary
    evaluations: float | None  # mean over the runs
    seconds: float | None
    budgets: list[int]  # gradient evaluations, as configured: one, if all runs agree
    comparable: bool = True
    took_otherwise: bool = False  # more or fewer gradient evaluations than others of the same budget
    difference: Difference | None = None  # None: it is the baseline, or there is nothing to compare it with
    difference_from: str = ""  # label of the row that it was taken from
    is_baseline: bool = False
    missing_seeds: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Block:
    """One network on one set of data. Rows: best first, then those of another budget, then those without a result."""

    title: str
    rows: list[Row]
    baseline: str = ""  # label of the row that differences are taken from, if it is one


@dataclass
class Comparison:
    metric: str
    blocks: list[Block]
    uncounted: list[tuple[Run, str, str]]  # run, state, why
    notes: list[str]
