"""Hold a comparison: tables of rows, notes, and the runs that are in no row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..records.scores import first, of_key, score_of
from ..tasks.metric import Metric
from .groups import Group
from .loading import Run
from .summary import Difference, Summary, summarize


@dataclass
class Row:
    """One group with its numbers; `notes` are printed below the table."""

    group: Group
    counted: list[Run]  # the finished runs that have the metric
    summary: Summary
    evaluations: float | None  # gradient evaluations, mean over the runs
    seconds: float | None  # wall time, mean over the runs
    budgets: list[int]  # gradient evaluations, as configured: one, if all runs agree
    traffic: float | None = None  # bytes handed to all-reduces by each rank, mean over the runs
    comparable: bool = True
    unusual_cost: bool = False  # over 2 % more or fewer gradient evaluations than others of the same budget
    difference: Difference | None = None  # None: it is the baseline, or there is nothing to compare it with
    difference_from: str = ""  # label of the row that it was taken from
    is_baseline: bool = False
    missing_seeds: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def traffic(counted: list[Run]) -> float | None:
    """Bytes that each rank sent, mean over the runs; None for one rank, or where it was not counted."""
    several = [run.result for run in counted if run.result.get("ranks", 1) > 1]
    if not several or any("traffic_bytes" not in result for result in several):
        return None
    return summarize([float(run.result.get("traffic_bytes", 0)) for run in counted]).mean


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
