"""Run `deeprelax runs`: list the runs under some folders with their state and score."""

from __future__ import annotations

from pathlib import Path

from ..records.scores import LOSS, first
from ..reporting.loading import Run, find_runs
from ..tables import aligned

USAGE = """List the runs.

Usage: deeprelax runs [FOLDER ...]
  FOLDER is by default outputs. State: finished; running (a process holds it); stopped (the same command resumes);
  failed, with the reason; damaged, with the file. Error: the last one on test images, in percent.
  Of other tasks than classification: the first score, on test data."""


def main(arguments: list[str]) -> None:
    """Print a line for each run under the folders, by default outputs. Raises UserError."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return
    folders = [Path(argument) for argument in arguments] or [Path("outputs")]
    runs, notes = find_runs(folders)
    if not runs:
        print(f"no runs under {', '.join(map(str, folders))}")
    else:
        compared_by = {first(run.metrics) for run in runs if run.metrics}
        name, metric = compared_by.pop() if len(compared_by) == 1 else ("", LOSS)
        title = f"{name} {metric.unit}".strip() or "score"
        rows = [("state", title, "passes", "run"), *(row for run in runs for row in rows_of(run, named=not name))]
        print("\n".join(aligned(rows, "<>><")))
    for note in notes:
        print(f"! {note}")


def rows_of(run: Run, *, named: bool) -> list[tuple[str, str, str, str]]:
    """A line of state, score, passes and directory; a second one with the reason of a failure.

    named: with the score's name and unit, where runs of several tasks are in one list.
    """
    shown = ""
    if (score := test_score(run)) is not None:
        name, metric = first(run.metrics)
        shown = f"{name} {metric.show(score)}" if named else metric.number(score)
    line = (run.state, shown, f"{run.passes:.4g}" if run.records else "", str(run.directory))
    return [line, ("", "", "", run.reason)] if run.state in ("failed", "damaged") else [line]


def test_score(run: Run) -> float | None:
    """The first score on test data: that of the result, else that of the last evaluation; None if there was none."""
    if not run.metrics:
        return None
    name, _ = first(run.metrics)
    if run.finished:
        return float(run.result[f"test_{name}"]) if f"test_{name}" in run.result else None
    scores = [record[name] for record in run.records if record["kind"] == "test" and name in record]
    return float(scores[-1]) if scores else None
