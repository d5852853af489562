"""Hold a comparison: tables of rows, notes, and the runs that are in no row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..records.scores import first, of_key, score_of
from ..tasks.metric import Metric
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
    """One network on one problem. Rows: best first, then those of another budget, then those without a result.

    metric: the key of result.json that they are compared by. metrics: all of its task.
    """

    title: str
    metric: str
    metrics: Mapping[str, Metric]
    rows: list[Row] = field(default_factory=list)
    baseline: str = ""  # label of the row that differences are taken from, if it is one

    @property
    def shown_as(self) -> Metric:
        """How `metric` is shown, and which way is better."""
        return of_key(self.metric, self.metrics)

    @property
    def drawn(self) -> str:
        """The metric that curves are drawn of beside the loss: the one compared by, where records have it."""
        name = score_of(self.metric, self.metrics)
        if name in self.metrics:
            return name + "_average" * self.metric.endswith(f"{name}_average")
        return first(self.metrics)[0] if self.metrics else "loss"


@dataclass
class Comparison:
    """All tables of a comparison, with notes on all runs and the runs that are in no mean."""

    tables: list[Table]
    uncounted: list[tuple[Run, str, str]]  # run, state, reason
    notes: list[str]
