"""`deeprelax runs`: the runs under a folder, their state and error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import is_held

USAGE = """List the runs.

Usage: deeprelax runs [FOLDER ...]
  FOLDER is by default outputs. State: finished; running (a process holds it); stopped (the same command goes on)."""


def main(arguments: list[str]) -> None:
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return
    folders = [Path(word) for word in arguments] or [Path("outputs")]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder: give the one that holds the runs, by default outputs")
    rows = [describe(file.parent) for folder in folders for file in sorted(folder.rglob("config.yaml"))]
    if not rows:
        print(f"no runs under {', '.join(map(str, folders))}")
        return
    print(f"{'state':<10}{'error %':>8}{'passes':>10}  run")
    for row in rows:
        error = "" if row["error"] is None else f"{row['error']:.2f}"
        passes = "" if row["passes"] is None else f"{row['passes']:.4g}"
        print(f"{row['state']:<10}{error:>8}{passes:>10}  {row['directory']}")


def describe(directory: Path) -> dict[str, Any]:
    """State, test error in percent and passes of the run in a directory, by its files alone."""
    result = directory / "result.json"
    records = _records(directory / "metrics.jsonl")
    tests = [record for record in records if record["kind"] == "test"]
    state = "finished" if result.exists() else "running" if is_held(directory) else "stopped"
    return {
        "directory": str(directory),
        "state": state,
        "error": tests[-1]["error"] if tests else None,
        "passes": records[-1]["passes"] if records else None,
    }


def _records(file: Path) -> list[dict[str, Any]]:
    records = []
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:  # the last line of a run that is being written, or was killed
            break
    return records
