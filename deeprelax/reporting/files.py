"""The comparison as CSV and JSON: one row a group, and every run with its state."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from typing import Any

from .rows import Block, Comparison, Row
from .runs import Run
from .statistics import CONFIDENCE


def as_json(comparison: Comparison) -> str:
    tables = [
        {
            "title": block.title,
            "baseline": block.baseline or None,
            "groups": [_row(row, comparison.metric) for row in block.rows],
        }
        for block in comparison.blocks
    ]
    left = [
        {"directory": str(run.directory), "state": state, "why": why, "seed": run.seed, "passes": run.passes}
        for run, state, why in comparison.uncounted
    ]
    content = {
        "metric": comparison.metric, "std": "sample standard deviation (ddof = 1)", "confidence": CONFIDENCE,
        "tables": tables, "not_counted": left, "notes": comparison.notes,
    }  # fmt: skip
    return json.dumps(_strict(content), indent=2, allow_nan=False) + "\n"


def as_csv(comparison: Comparison) -> str:
    """Flat rows; the columns are those of the JSON's groups without the runs."""
    text = io.StringIO()
    rows = [_flat(comparison.metric, block, row) for block in comparison.blocks for row in block.rows]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
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
        "missing_seeds": row.missing_seeds,
        "notes": row.notes,
        "settings": row.group.runs[0].settings,
        "runs": [_run(run, metric, counted=any(run is other for other in row.counted)) for run in row.group.runs],
    }  # fmt: skip


def _run(run: Run, metric: str, *, counted: bool) -> dict[str, Any]:
    numbers = {key: run.result.get(key) for key in ("gradient_evaluations", "seconds", metric)}
    return {"directory": str(run.directory), "seed": run.seed, "state": run.state, "counted": counted, **numbers}


def _flat(metric: str, block: Block, row: Row) -> dict[str, Any]:
    values = _row(row, metric)
    found = values["difference"] or {}
    return {
        "table": block.title,
        "metric": metric,
        **{key: values[key] for key in ("label", "n", "mean", "std", "is_baseline")},
        **{f"difference_{key}": found.get(key) for key in ("from", "mean", "low", "high", "pairs", "why_not")},
        "budget": " ".join(map(str, row.budgets)),
        **{key: values[key] for key in ("comparable", "gradient_evaluations", "seconds")},
        "missing_seeds": " ".join(map(str, row.missing_seeds)),
        "unfinished": sum(not run.finished for run in row.group.runs),
        "notes": "; ".join(row.notes),
    }


def _strict(value: Any) -> Any:
    """Numbers that are not finite as null, which is what JSON has for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _strict(each) for key, each in value.items()}
    return [_strict(each) for each in value] if isinstance(value, list) else value
