"""Run `deeprelax runs`: list the runs under some folders with their state and score, or delete those that failed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import yaml

from ..configuration.run_name import CUT, whole_name
from ..errors import UserError
from ..files import remove_empty, sole_writer
from ..records.directory import RunDirectory
from ..records.scores import LOSS, first
from ..reporting.loading import Loader, Run, find_runs, tagged
from ..tables import aligned
from .arguments import Parser, confirmed

STATES = """state: finished; running (a process holds it); stopped (the same command resumes); failed, with the reason;
  corrupt, with the file. error: the last one on test images, in percent; of other tasks than classification the
  first score, on test data. Where a directory's name is no longer whole, the overrides stand below it."""


def parser() -> Parser:
    """The parser of the command's arguments."""
    made = Parser(
        prog="deeprelax runs",
        description="List the runs.",
        epilog=STATES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="folders of runs (default: outputs)")
    made.add_argument(
        "--tag",
        action="append",
        default=[],
        help="only runs with this tag (tags=[...] of deeprelax train); again: and this",
    )
    made.add_argument(
        "--clean", choices=["failed"],
        help="delete the runs that failed, after asking; never one with a checkpoint, from which its command resumes",
    )  # fmt: skip
    made.add_argument("--yes", action="store_true", help="with --clean: do not ask")
    return made


def main(arguments: list[str]) -> None:
    """Print a line for each run under the folders, by default outputs, or delete failed ones. Raises UserError."""
    options = parser().parse_args(arguments)
    if options.yes and not options.clean:
        raise UserError("--yes goes with --clean failed: the list asks nothing")
    folders = options.folders or [Path("outputs")]
    runs, notes = find_runs(folders)
    runs = tagged(runs, options.tag)
    if options.clean:
        clean([run for run in runs if run.state == options.clean], folders, ask=not options.yes)
        return
    print("\n".join(table(runs)) if runs else f"no runs under {', '.join(map(str, folders))}")
    for note in notes:
        print(f"! {note}")


def clean(failed: list[Run], folders: list[Path], *, ask: bool) -> None:
    """List the failed runs under the folders and delete them, if the answer is yes, but for those that can resume.

    Of each goes what a run writes, and the directories that are empty then. Raises UserError where nobody can answer.
    """
    kept = [run for run in failed if RunDirectory(run.directory).can_resume]
    doomed = [run for run in failed if run not in kept]
    if kept:
        print("\n".join(["Kept, as their commands resume from a checkpoint:", *(f"  {run.directory}" for run in kept)]))
    if not doomed:
        print("no failed run to delete")
        return
    print("\n".join(table(doomed)))
    if ask and not confirmed(f"Delete {_runs(len(doomed))}?"):
        print("nothing is deleted")
        return
    print(f"deleted {_runs(sum(_delete(run.directory, folders) for run in doomed))}")


def _runs(number: int) -> str:
    return f"{number} failed run{'s' * (number != 1)}"


def _delete(path: Path, folders: list[Path]) -> bool:
    """Delete a run, unless it has been started again since it was listed; whether it is deleted."""
    directory = RunDirectory(path)
    try:
        with sole_writer(path):
            if directory.finished or directory.can_resume:
                print(f"kept, as it was started again: {path}")
                return False
            directory.delete_all()
    except UserError as problem:  # another process writes it
        print(f"kept: {problem}")
        return False
    above = next(folder for folder in folders if path.is_relative_to(folder))
    remove_empty(path, above.parent if above == path else above)
    if path.exists():
        print(f"left, with what is not the run's: {path}")
    return True


def table(runs: list[Run]) -> list[str]:
    """The lines of the list; columns of names and tags only where a run has one."""
    compared_by = {first(run.metrics) for run in runs if run.metrics}
    name, metric = compared_by.pop() if len(compared_by) == 1 else ("", LOSS)
    title = f"{name} {metric.unit}".strip() or "score"
    rows: list[Sequence[str]] = [("state", title, "passes", "name", "tags", "run")]
    rows += [row for run in runs for row in rows_of(run, named=not name)]
    labelled = [any(row[i] for row in rows[1:]) for i in (3, 4)]
    kept = [0, 1, 2, *(i for i, wanted in zip((3, 4), labelled, strict=True) if wanted), 5]
    return aligned([[row[i] for i in kept] for row in rows], "<>>" + "<" * (len(kept) - 3))


def rows_of(run: Run, *, named: bool) -> list[Sequence[str]]:
    """A line of state, score, passes, name, tags and directory.

    Below it the reason of a failure, and what a directory's name no longer shows. named: with the score's name and
    unit, where runs of several tasks are in one list.
    """
    shown = ""
    if (score := test_score(run)) is not None:
        name, metric = first(run.metrics)
        shown = f"{name} {metric.show(score)}" if named else metric.number(score)
    passes = f"{run.passes:.4g}" if run.records else ""
    lines: list[Sequence[str]] = [(run.state, shown, passes, run.name, " ".join(run.tags), str(run.directory))]
    below = [whole(run.directory), run.reason if run.state in ("failed", "corrupt") else ""]
    return lines + [("", "", "", "", "", each) for each in below if each]


def whole(directory: Path) -> str:
    """The overrides of a run whose directory's name does not show them all; "" if it does, or none are known."""
    file = RunDirectory(directory).overrides
    if not CUT.search(directory.absolute().parent.name) or not file.is_file():
        return ""
    try:
        overrides = yaml.load(file.read_bytes(), Loader)
    except yaml.YAMLError:
        return ""
    return whole_name([str(each) for each in overrides]) if isinstance(overrides, list) else ""


def test_score(run: Run) -> float | None:
    """The first score on test data: that of the result, else that of the last evaluation; None if there was none."""
    if not run.metrics:
        return None
    name, _ = first(run.metrics)
    if run.finished:
        return float(run.result[f"test_{name}"]) if f"test_{name}" in run.result else None
    scores = [record[name] for record in run.records if record["kind"] == "test" and name in record]
    return float(scores[-1]) if scores else None
