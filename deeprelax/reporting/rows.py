"""Hold a comparison: tables of rows, notes, and the runs that are in no row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..records.directory import RunDirectory
from ..records.flatness import comparable
from ..records.scores import first, of_key, score_of
from ..tasks.metric import Metric
from .groups import Group
from .loading import Run
from .summary import Difference, Summary, summarize


@dataclass(frozen=True)
class Cost:
    """What reaching a target took: medians over `runs`, `reached` of which did; infinite if half of them missed it."""

    runs: int
    reached: int
    evaluations: float
    seconds: float


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
    cost: Cost | None = None  # of reaching the table's target; None without one
    flatness: dict[str, float] = field(default_factory=dict)  # by name: means over the runs that were measured alike

    def of_seed(self, seed: int, metric: str) -> list[float]:
        """The metric of the counted runs of this seed: one, unless runs are pooled."""
        return [float(run.result[metric]) for run in self.counted if run.seed == seed]


def add_flatness(rows: list[Row]) -> None:
    """Give the rows what `deeprelax flatness` has measured of their runs, and notes of what is not comparable."""
    found, why = comparable(RunDirectory(run.directory) for row in rows for run in row.counted)
    for row in rows:
        values: dict[str, list[float]] = {}
        for run in row.counted:
            for name, value in found.get(run.directory, {}).items():
                values.setdefault(name, []).append(value)
            if run.directory in why:
                row.notes.append(f"{run.directory}: {why[run.directory]}")
        row.flatness = {name: sum(each) / len(each) for name, each in values.items()}


def traffic(counted: list[Run]) -> float | None:
    """Bytes that each rank sent, mean over the runs; None for one rank, or where it was not counted."""
    several = [run.result for run in counted if run.result.get("ranks", 1) > 1]
    if not several or any("traffic_bytes" not in result for result in several):
        return None
    return summarize([float(run.result.get("traffic_bytes", 0)) for run in counted]).mean


@dataclass
class Table:
    """One network on one problem. Rows: best first, then those of another budget, then those without a result.

    metric: the key of result.json that they are compared by. metrics: all of its task. target: a value of the metric,
    what reaching it cost being the rows'. seeds: those that have a column of their own.
    """

    title: str
    metric: str
    metrics: Mapping[str, Metric]
    rows: list[Row] = field(default_factory=list)
    baseline: str = ""  # label of the row that differences are taken from, if it is one
    target: float | None = None
    seeds: list[int] = field(default_factory=list)

    @property
    def shown_as(self) -> Metric:
        """How `metric` is shown, and which way is better."""
        return of_key(self.metric, self.metrics)

    @property
    def drawn(self) -> str:
        """The metric that curves are drawn of beside the loss: the one compared by, where records have it."""
        name = score_of(self.metric, self.metrics)
        if name not in self.metrics:
            name = first(self.metrics)[0] if self.metrics else "loss"
        return name + self.mean

    @property
    def mean(self) -> str:
        """ "_average" where means of x are compared: what names of their scores end with."""
        name = score_of(self.metric, self.metrics)
        return "_average" * (self.metric.partition("_")[2] == f"{name}_average")


@dataclass(frozen=True)
class Profile:
    """Performance profile: for each problem, the cost of each setting over that of the cheapest one there.

    ratios: label -> a ratio >= 1 for each of `problems`; infinite where the target was missed.

    Source: Dolan and Moré, Benchmarking optimization software with performance profiles (arXiv cs/0102001), section 2.
    """

    problems: list[str]
    ratios: dict[str, list[float]]

    def share(self, label: str, factor: float) -> float:
        """rho(factor): the share of problems on which the setting cost at most so many times the cheapest's, in [0, 1].

        At infinity that of the problems on which it reached the target at all.
        """
        return sum(ratio <= factor and ratio < math.inf for ratio in self.ratios[label]) / len(self.problems)


def profile(tables: list[Table]) -> Profile | None:
    """Of the tables with a target, over the labels that all have; None under two tables, or if no label is in all.

    A cost is the median of the gradient evaluations times the batch size, in examples: settings may differ in batches.
    """
    costs = [
        {
            row.group.label: row.cost.evaluations * int(row.counted[0].result["batch_size"])
            if row.counted
            else math.inf
            for row in table.rows
            if row.cost is not None
        }
        for table in tables
        if table.target is not None
    ]
    labels = [label for label in costs[0] if all(label in each for each in costs)] if len(costs) > 1 else []
    if not labels:
        return None
    best = [min(each[label] for label in labels) for each in costs]
    ratios = {
        label: [
            each[label] / least if each[label] < math.inf else math.inf for each, least in zip(costs, best, strict=True)
        ]
        for label in sorted(labels)
    }
    return Profile([table.title for table in tables if table.target is not None], ratios)


@dataclass
class Comparison:
    """All tables of a comparison, with notes on all runs and the runs that are in no mean."""

    tables: list[Table]
    uncounted: list[tuple[Run, str, str]]  # run, state, reason
    notes: list[str]
    profile: Profile | None = None
