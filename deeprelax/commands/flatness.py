"""Run `deeprelax flatness`: measure how flat the training loss is at the weights of runs."""

from __future__ import annotations

import textwrap
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError, did_you_mean
from ..files import replace, write_json
from ..records.directory import RunDirectory
from ..records.flatness import DTYPES, PARTS, Asked, comparable, drawn, merged, numbers, of_checkpoint, stored
from .arguments import Parser, add_weights
from .evaluate import ALLOWED as OF_EVALUATE

if TYPE_CHECKING:
    from ..reporting.loading import Run

ALLOWED = tuple(key for key in OF_EVALUATE if key != "hardware.precision")  # for which there is --dtype
LAYER = "layer"  # of --by; anything else is a key that runs are grouped by


def parser() -> Parser:
    """The parser of the command's arguments."""
    made = Parser(
        prog="deeprelax flatness",
        description="Measure how flat the training loss is at the weights of runs: eigenvalues, trace and density of "
        "the Hessian, Gauss-Newton beside it, average and worst-case sharpness, local entropy. Prints a table, writes "
        f"flatness.json and flatness.png beside result.json; parts that are there, of these weights and with these "
        f"options, are kept. KEY=VALUE may be {', '.join(ALLOWED)}.",
    )
    made.add_argument("runs", nargs="+", metavar="RUN", help="run directories, or folders of runs")
    made.add_argument("--by", metavar="KEY", help="layer: of each layer too; another, as optimizer: group the runs by "
                      "it, with Kendall's tau between flatness and test score")  # fmt: skip
    made.add_argument("--images", type=int, metavar="N", help="training examples (default: all)")
    made.add_argument("--top", type=int, default=Asked.top, metavar="K", help="eigenvalues (default: %(default)s)")
    made.add_argument("--seed", type=int, default=0, metavar="S", help="of all random numbers (default: %(default)s)")
    made.add_argument("--dtype", choices=DTYPES, default=DTYPES[0], help="default: %(default)s")
    add_weights(made)
    made.add_argument("--only", metavar="PART,PART", help=f"of {', '.join(PARTS)} (default: all)")
    made.add_argument("--gamma", metavar="G,G", help="of local entropy, ascending (default: "
                      f"{','.join(f'{gamma:g}' for gamma in Asked.gammas)})")  # fmt: skip
    made.add_argument("--temperature", type=float, metavar="T", help="of local entropy (default: 1 over the number of "
                      "training examples)")  # fmt: skip
    made.add_argument("--entropy-images", type=int, default=Asked.entropy_images, metavar="N", help="of local "
                      "entropy, whose chains take full gradients (default: %(default)s)")  # fmt: skip
    made.add_argument("--gradients", type=int, default=Asked.gradients, metavar="N", help="that local entropy may "
                      "take; its curve ends where more are needed (default: %(default)s)")  # fmt: skip
    made.add_argument("--again", action="store_true", help="measure again what is there already")
    return made


def main(arguments: list[str]) -> None:
    """Measure each run, print tables, write files. Raises UserError, after all runs if there are several."""
    options = parser().parse_intermixed_args(arguments)
    overrides = [each for each in options.runs if "=" in each and not Path(each).exists()]
    for key in (each.partition("=")[0] for each in overrides):
        if key not in ALLOWED:
            raise UserError(f"{key} cannot be set here{did_you_mean(key, ALLOWED)}: it may be {', '.join(ALLOWED)}")
    asked = _asked(options, overrides)
    from ..reporting.loading import find_runs

    folders = [Path(each) for each in options.runs if each not in overrides]
    runs, notes = find_runs(folders)
    print(*(f"! {note}" for note in notes), sep="\n", end="\n" if notes else "")
    if not runs:
        raise UserError(f"no runs under {', '.join(map(str, folders))}: give the directory of a run")
    labels = _labels(runs, options.by)
    problems = [_measure(run.directory, asked, options.again, several=len(runs) > 1) for run in runs]
    if len(runs) > 1:
        _compare([run for run, problem in zip(runs, problems, strict=True) if problem is None], labels)
    if failed := [problem for problem in problems if problem]:
        raise UserError(f"{len(failed)} of {len(runs)} runs could not be measured: {failed[0]}")


def _asked(options: Namespace, overrides: list[str]) -> Asked:
    """Raises UserError for what is out of range."""
    for name, least in (("images", 1), ("top", 1), ("seed", 0), ("entropy_images", 1), ("gradients", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} {value} is out of range: it must be an integer of {least} or more")
    if options.temperature is not None and not 0 <= options.temperature < float("inf"):
        raise UserError(f"--temperature {options.temperature:g} is out of range: it must be a finite number >= 0")
    parts = tuple(options.only.split(",")) if options.only else PARTS
    for part in parts:
        if part not in PARTS:
            raise UserError(f"--only {part} is none of {', '.join(PARTS)}{did_you_mean(part, PARTS)}")
    given = {
        name: getattr(options, name)
        for name in ("images", "top", "seed", "dtype", "weights", "temperature", "entropy_images", "gradients")
    }
    if options.gamma is not None:
        given["gammas"] = _gammas(options.gamma)
    return Asked(**given, parts=parts, layers=options.by == LAYER, overrides=tuple(overrides))


def _gammas(text: str) -> tuple[float, ...]:
    try:
        found = tuple(map(float, text.split(",")))
    except ValueError:
        found = ()
    if not found or not all(0 < gamma < float("inf") for gamma in found):
        raise UserError(f"--gamma {text} cannot be read: give positive numbers, as 0.01,0.1,1")
    return found


def _labels(runs: Sequence[Run], by: str | None) -> dict[int, str]:
    """By the id of each run, what it is called in the table of groups."""
    from ..reporting.groups import group, resolve_key

    keys = None if by in (None, LAYER) else [resolve_key(key, runs) for key in str(by).split(",")]
    return {id(run): each.label for each in group(runs, keys) for run in each.runs}


def _measure(path: Path, asked: Asked, again: bool, *, several: bool) -> UserError | None:
    """Measure the run, unless these numbers are there; print and write them. Of several runs a problem is returned."""
    from ..reporting.flatness import of_run

    directory = RunDirectory(path)
    figure = path / "flatness.png"
    try:
        known = {} if again else _known(directory, asked)
        missing = asked.beyond(known.get("asked", {}))
        new = bool(missing.parts) or missing.layers
        if new:
            from ..runs.flatness import measure

            with _Bar(directory.shown()) as bar:
                found = measure(path, missing, bar)
            known = merged(known, found)
            figure.unlink(missing_ok=True)  # before the numbers, that no older one stands beside them after a kill
            write_json(directory.flatness, known)
        redrawn = drawn(known) and not figure.exists()
        if redrawn:
            _draw(directory, known, figure)
    except UserError as problem:
        if not several:
            raise
        print(f"! {directory.shown()}: {problem}\n", flush=True)
        return problem
    print(of_run(directory.shown(), known))
    written = "flatness.json, flatness.png" if drawn(known) else "flatness.json"
    print(f"  {'written to' if new or redrawn else 'as they are in'} {directory.shown()}: {written}\n", flush=True)
    return None


def _known(directory: RunDirectory, asked: Asked) -> dict[str, Any]:
    """What is measured of these weights with these options, whatever its parts; else nothing, and why in a line."""
    from ..reporting.flatness import of_run

    try:
        found = stored(directory)
        if found:
            # all that is read of it, here and when parts are added
            numbers(found, directory), of_run("", found), _curves(found), float(found["seconds"])
            (*found["asked"]["parts"], found["asked"]["layers"])
    except (UserError, KeyError, TypeError, IndexError, AttributeError, ValueError):
        print(f"! {directory.flatness} is corrupt, and is measured again")
        return {}
    if not found or (asked.agrees(found.get("asked", {})) and found.get("checkpoint") == of_checkpoint(directory)):
        return found
    print(f"! {directory.shown()}: flatness.json is of other weights or options, and is replaced")
    return {}


def _draw(directory: RunDirectory, found: dict[str, Any], file: Path) -> None:
    """The density and the curve of local entropy."""
    import torch

    from ..flatness.density import Density
    from ..flatness.density_figure import draw
    from ..reporting.style import save

    curves, valley = _curves(found)
    nodes, weights = (torch.tensor(curve, dtype=torch.float64) for curve in curves)
    density = Density(nodes, weights, found["parameters"], 0) if len(nodes) else None
    top = [value for value in found.get("hessian", {}).get("eigenvalues", []) if value is not None]
    of_valley = f", u of {found['local_entropy_images']}" if valley else ""
    title = textwrap.fill(f"{directory.shown()} ({found['images']} training {found['examples']}s{of_valley})", 70)
    figure = draw(density, top, valley, title)
    replace(file, lambda open_file: save(figure, open_file, "png", 200))


def _curves(found: Mapping[str, Any]) -> tuple[list[list[float]], list[dict[str, Any]]]:
    """Of flatness.json: nodes and weights of the density, and points of local entropy from f on; empty without."""
    density, points = found.get("density", {"nodes": [], "weights": []}), found.get("local_entropy", [])
    if points:
        known = {"gamma": 0.0, "value": float(found["local_entropy_loss"]), "error": 0.0, "converged": True}
        points = [known, *points]
    return [[float(each) for each in density[key]] for key in ("nodes", "weights")], points


def _compare(runs: Sequence[Run], labels: Mapping[int, str]) -> None:
    """Print means by group, and rank correlations with the test score, of one network on one problem at a time."""
    from ..reporting.comparison import PROBLEM, title_of
    from ..reporting.flatness import Measured, of_groups, of_ranks
    from ..reporting.groups import split

    for part in split(runs, PROBLEM):
        rows, score = [], part[0].compared_by
        found, _ = comparable(RunDirectory(run.directory) for run in part)  # all, of what was measured just now
        for run in part:
            if run.directory not in found:
                continue
            value = run.result.get(score)  # of an unfinished run there is none
            known = None if value is None else float(value)
            loss = float(stored(RunDirectory(run.directory))["loss"])
            rows.append(Measured(labels[id(run)], loss, known, found[run.directory]))
        if rows:
            print(f"{title_of(part[0])}\n\n{of_groups(rows, score)}\n\n{of_ranks(rows, score)}\n")


class _Bar:
    """One progress bar after the other, by what is measured, where there is a terminal."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._now: Any = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._now is not None:
            self._now.close()

    def __call__(self, what: str) -> Callable[..., None]:
        from tqdm import tqdm

        self._close()
        self._now = tqdm(desc=f"{self._name}: {what}", unit="pass", disable=None, leave=False)
        return lambda count=1: self._now.update(count)
