"""Run `deeprelax runs`: list the runs under some folders with their state and error."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from ..reporting.loading import Run, find_runs
from ..tables import aligned

USAGE = """List the runs.

Usage: deeprelax runs [FOLDER ...]
  FOLDER is by default outputs. State: finished; running (a process holds it); stopped (the same command goes on);
  failed, with the reason; damaged, with the file. Error: the last one on test images, in percent."""


def main(arguments: list[str]) -> None:
    """Print a line for each run under the folders, by default outputs. Raises UserError."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return
    folders = [Path(argument) for argument in arguments] or [Path("outputs")]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder: give the one that holds the runs, by default outputs")
    runs, notes = find_runs(folders)
    if not runs:
        print(f"no runs under {', '.join(map(str, folders))}")
    else:
        rows = [("state", "error %", "passes", "run"), *(row for run in runs for row in rows_of(run))]
        print("\n".join(aligned(rows, "<>><")))
    for note in notes:
        print(f"! {note}")


def rows_of(run: Run) -> list[tuple[str, str, str, str]]:
    """A line of state, test error in percent, passes and directory; a second one with the reason of a failure."""
    error = test_error(run)
    shown = "" if error is None else f"{error:.2f}"
    first = (run.state, shown, f"{run.passes:.4g}" if run.records else "", str(run.directory))
    return [first, ("", "", "", run.reason)] if run.state in ("failed", "damaged") else [first]


def test_error(run: Run) -> float | None:
    """Test error in percent: that of the result, else that of the last evaluation; None if there was none."""
    if run.finished:
        return float(run.result["test_error"]) if "test_error" in run.result else None
    errors = [record["error"] for record in run.records if record["kind"] == "test"]
    return float(errors[-1]) if errors else None
