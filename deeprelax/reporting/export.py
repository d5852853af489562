"""Export a comparison as CSV and JSON: one row a group, and every run with its state."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from typing import Any

from .loading import Run
from .rows import Comparison, Row, Table
from .summary import CONFIDENCE
from .text import FLAT


def as_json(comparison: Comparison) -> str:
    """The content of table.json: metric, tables with their groups and runs, runs that do not count, notes.

    Scores are in the units of the task's metrics, errors in percent; seconds in wall time; numbers that are not finite
    are null, among them costs of a target that was missed. Where tables are compared by different metrics, as those of
    two tasks, "metric" lists that of each.
    """
    tables = [
        {
            "title": table.title,
            "baseline": table.baseline or None,
            **({} if table.target is None else {"target": table.target}),
            "groups": [_row(row, table.metric) for row in table.rows],
        }
        for table in comparison.tables
    ]
    left = [
        {"directory": str(run.directory), "state": state, "why": why, "seed": run.seed, "passes": run.passes}
        for run, state, why in comparison.uncounted
    ]
    metrics = [table.metric for table in comparison.tables]
    content: dict[str, Any] = {
        "metric": metrics[0] if len(set(metrics)) == 1 else metrics,
        "std": "sample standard deviation (ddof = 1)", "confidence": CONFIDENCE,
        "tables": tables, "not_counted": left, "notes": comparison.notes,
    }  # fmt: skip
    if comparison.profile is not None:
        content["profile"] = asdict(comparison.profile)
    return json.dumps(_strict(content), indent=2, allow_nan=False) + "\n"


def as_csv(comparison: Comparison) -> str:
    """The content of table.csv: a row for each group of all tables. The comparison must have one at least."""
    text = io.StringIO()
    rows = [_flat(table, row) for table in comparison.tables for row in table.rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(row: Row, metric: str) -> dict[str, Any]:
    found = row.difference
    return {
        "label": row.group.label,
        "shown": row.group.shown,
        "n": row.summary.n,
        "mean": row.summary.mean,
        "std": row.summary.std,
        "is_baseline": row.is_baseline,
        "difference": found and {"from": row.difference_from, **asdict(found)},
        "budget": row.budgets,
        "comparable": row.comparable,
        "gradient_evaluations": row.evaluations,
        "seconds": row.seconds,
        "traffic_bytes": row.traffic,
        **({} if row.cost is None else {"cost_of_target": asdict(row.cost)}),
        "flatness": row.flatness,
        "missing_seeds": row.missing_seeds,
        "notes": row.notes,
        "settings": row.group.runs[0].settings,
        "runs": [_run(run, metric, counted=any(run is other for other in row.counted)) for run in row.group.runs],
    }  # fmt: skip


def _run(run: Run, metric: str, *, counted: bool) -> dict[str, Any]:
    numbers = {key: run.result.get(key) for key in ("gradient_evaluations", "seconds", metric)}
    return {"directory": str(run.directory), "seed": run.seed, "state": run.state, "counted": counted, **numbers}


def _flat(table: Table, row: Row) -> dict[str, Any]:
    values = _row(row, table.metric)
    found = values["difference"] or {}
    return {
        "table": table.title,
        "metric": table.metric,
        **{key: values[key] for key in ("label", "n", "mean", "std", "is_baseline")},
        **{f"seed_{seed}": " ".join(map(str, row.of_seed(seed, table.metric))) for seed in table.seeds},
        **({} if row.cost is None else {f"target_{key}": value for key, value in asdict(row.cost).items()}),
        **{f"difference_{key}": found.get(key) for key in ("from", "mean", "low", "high", "pairs", "why_not")},
        "budget": " ".join(map(str, row.budgets)),
        **{key: values[key] for key in ("comparable", "gradient_evaluations", "seconds", "traffic_bytes")},
        **{key: row.flatness.get(FLAT[key]) for key in FLAT},
        "missing_seeds": " ".join(map(str, row.missing_seeds)),
        "unfinished": sum(not run.finished for run in row.group.runs),
        "notes": "; ".join(row.notes),
    }


def _strict(value: Any) -> Any:
    """The value with None for numbers that are not finite: JSON has no NaN, and strict readers refuse Python's."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _strict(each) for key, each in value.items()}
    return [_strict(each) for each in value] if isinstance(value, list) else value
