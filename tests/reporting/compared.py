"""Two groups of runs, their comparison and its rows."""

from __future__ import annotations

from pathlib import Path

from deeprelax.reporting.comparison import compare
from deeprelax.reporting.loading import find_runs
from deeprelax.reporting.rows import Comparison, Row
from tests.reporting.fakes import write_run

SGD, HEAT = [0.8, 0.6, 1.0], [0.5, 0.4, 0.9]


def write_both(folder: Path) -> None:
    for seed, (sgd, heat) in enumerate(zip(SGD, HEAT, strict=True)):
        write_run(folder, "sgd", seed, sgd)
        write_run(folder, "heat", seed, heat)


def compared(folder: Path, metric: str = "test_error", **options: str) -> Comparison:
    by = options.get("by")
    return compare(find_runs([folder])[0], metric, by.split(",") if by else None, options.get("baseline"))


def rows(found: Comparison, number: int = 0) -> dict[str, Row]:
    return {row.group.label: row for row in found.tables[number].rows}
