"""Run `deeprelax landscape`: draw the loss around a run's weights, or between those of several runs."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError, did_you_mean
from ..files import read_json, replace
from ..records.directory import RunDirectory
from ..records.scores import first
from .arguments import Parser, add_weights
from .evaluate import ALLOWED

if TYPE_CHECKING:
    from torch import Tensor

    from ..flatness.landscapes import Landscape
    from ..runs.restored import Restored

LETTERS = "ABC"  # for the runs, in a figure
MOST_POINTS = 501  # on an axis
OF_LINE, OF_PLANE = 51, 25  # points on an axis, where nothing else is asked for


def parser() -> Parser:
    """The parser of the command's arguments."""
    made = Parser(
        prog="deeprelax landscape",
        description="Draw the training loss around the weights of a run, on a line and on a plane of random, filter-"
        "normalised directions (arXiv 1712.09913): landscape_1d and landscape_2d beside its result.json. Of two runs: "
        "along the line between them; of three: on the plane that they span. Each as .png, .pdf and, for figures of "
        f"your own, .npz. KEY=VALUE may be {', '.join(ALLOWED)}.",
    )
    made.add_argument("runs", nargs="+", metavar="RUN", help="run directories, one to three, as `train` prints them")
    made.add_argument("--trajectory", action="store_true", help="of one run: the plane of the principal components of "
                      "its way, from the first weights by all checkpoints that lie in its directory (any *.pt: copy "
                      "checkpoint.pt there while it trains)")  # fmt: skip
    made.add_argument("--points", type=int, metavar="N", help="points on each axis, odd for one run, so that its "
                      "weights are one (default: 25; 51 on a line)")  # fmt: skip
    made.add_argument("--span", type=float, default=1.0, metavar="S", help="how far to go from the weights, in units "
                      "of each filter's norm (default: %(default)g); of several runs, beyond them in units of half "
                      "their distance, on a line in whole steps")  # fmt: skip
    made.add_argument("--seed", type=int, default=0, metavar="S", help="of the directions (default: %(default)s)")
    made.add_argument("--split", choices=["train", "test"], default="train", help="what the loss is of: the training "
                      "batches of result.json's train_loss, or all test examples (default: %(default)s)")  # fmt: skip
    made.add_argument("--batch-norm", choices=["reestimated", "fixed"], default="reestimated", help="the statistics: "
                      "re-estimated at each point, or of the first run's checkpoint, which of an unfinished run "
                      "may be older than its weights (default: %(default)s)")  # fmt: skip
    add_weights(made)
    made.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: the first run's directory)")
    return made


def main(arguments: list[str]) -> None:
    """Draw, and print the files. Raises UserError."""
    options = parser().parse_intermixed_args(arguments)
    overrides = [each for each in options.runs if "=" in each and not Path(each).exists()]
    for key in (each.partition("=")[0] for each in overrides):
        if key not in ALLOWED:
            raise UserError(f"{key} cannot be set here{did_you_mean(key, ALLOWED)}: it may be {', '.join(ALLOWED)}")
    paths = [Path(each) for each in options.runs if each not in overrides]
    _check(options, paths)
    from ..runs.precision import single_precision
    from ..runs.restored import restored

    run = restored(paths[0], overrides, options.weights)
    if run.data != run.task.fingerprint:
        raise UserError(f"the data are not those that {paths[0]} was trained on: put them back, or set data_dir")
    folder = paths[0] if options.out is None else options.out
    with single_precision(run.conf.hardware.precision, run.device):
        drawn = list(_landscapes(options, run, paths))
    found = {name: (landscape, axes) for name, landscape, axes in drawn if landscape is not None}
    for name, (landscape, axes) in found.items():
        _write(folder, name, landscape, axes, options, run, paths)
    _compare(run, options, next(iter(found.values()))[0], paths)


def _check(options: Any, paths: list[Path]) -> None:
    if not 1 <= len(paths) <= len(LETTERS):
        raise UserError(f"landscape takes one to three run directories, not {len(paths)}")
    if options.trajectory and len(paths) > 1:
        raise UserError("--trajectory is of one run: give one directory")
    least, odd = (3, len(paths) == 1 and not options.trajectory), options.points is not None
    if odd and (not least[0] <= options.points <= MOST_POINTS or (least[1] and options.points % 2 == 0)):
        which = "an odd integer" if least[1] else "an integer"
        raise UserError(f"--points {options.points} is out of range: it must be {which} from 3 to {MOST_POINTS}")
    if not 0 < options.span <= 1000:
        raise UserError(f"--span {options.span:g} is out of range: it must be a number > 0, at most 1000")
    if len(paths) == 2 and (points := options.points or OF_LINE) < (needed := math.ceil(2 + options.span)):
        raise UserError(
            f"--points {points} are too few for --span {options.span:g}, for both runs are among them: take --points "
            f"{needed} or more, or a smaller --span"
        )
    if options.seed < 0:
        raise UserError(f"--seed {options.seed} is out of range: it must be an integer >= 0")
    if options.out is not None and not options.out.is_dir():
        raise UserError(f"--out {options.out} is not a folder: make it first")


def _landscapes(options: Any, run: Restored, paths: list[Path]) -> Iterable[tuple[str, Landscape | None, list[str]]]:
    """Each with the name of its files and the labels of its axes."""
    import torch

    from ..flatness.landscapes import between, landscape, trajectory

    names = [name for name, _ in run.model.named_parameters()]
    moved, loss = list(run.model.parameters()), scored(run, options.split, fixed=options.batch_norm == "fixed")
    of_line, of_plane = options.points or OF_LINE, options.points or OF_PLANE
    try:
        gpus = [run.device] if run.device.type == "cuda" else []
        with torch.random.fork_rng(devices=gpus):  # evaluation seeds the default generators
            if options.trajectory:
                path = _way(run, names)
                found = trajectory(loss, moved, path, points=of_plane, progress=_progress("trajectory"))
                axes = [f"component {i + 1} ({100 * share:.0f} %)" for i, share in enumerate(found.explained)]
                yield "landscape_trajectory", found, axes
            elif len(paths) == 1:
                of_seed = partial(landscape, loss, moved, span=options.span, seed=options.seed)
                axes = [f"direction {i} (of the filters' norms)" for i in (1, 2)]
                yield "landscape_1d", of_seed(dimensions=1, points=of_line, progress=_progress("line")), axes[:1]
                yield "landscape_2d", of_seed(dimensions=2, points=of_plane, progress=_progress("plane")), axes
            else:
                ends = {LETTERS[i]: _weights(path, run, names, options.weights) for i, path in enumerate(paths)}
                line, points = len(paths) == 2, of_line if len(paths) == 2 else of_plane
                found = between(loss, moved, ends, points=points, margin=options.span / 2,
                                progress=_progress("line" if line else "plane"))  # fmt: skip
                axes = ["from A (0) to B (1)"] if line else ["distance, towards B", "distance, across"]
                yield "landscape_line" if line else "landscape_plane", found, axes
    except UserError:
        raise
    except ValueError as problem:
        named = (f"{letter} is {path}" for letter, path in zip(LETTERS, paths, strict=False))
        raise UserError(f"{problem} ({', '.join(named)})" if len(paths) > 1 else str(problem)) from None


def scored(run: Restored, split: str, *, fixed: bool) -> Callable[[], dict[str, float]]:
    """What returns the loss and the first metric of the network's present weights, as result.json has them."""
    from ..optim.batchnorm import reestimate_batchnorm
    from ..parallel.ranks import SOLO
    from ..training.evaluation import score
    from ..training.objective import Autocast

    task, model = run.task, run.model
    statistics = task.statistics(run.conf.train.bn_batches)
    chunks = statistics if split == "train" else task.splits()[split]
    autocast = Autocast(run.conf.hardware.precision, run.device)
    shown = ["loss", *(name for name, _ in [first(task.metrics)] if name != "loss")]

    def values() -> dict[str, float]:
        if not fixed:
            with autocast():
                reestimate_batchnorm(model, (statistics.take(i) for i in range(statistics.count)), keep_frozen=True)
        found = score(task, model, chunks, autocast, SOLO, split=split)
        return {name: found[name] for name in shown}

    return values


def _weights(path: Path, run: Restored, names: list[str], kind: str) -> list[Tensor]:
    """The parameters of the run in `path`, which must be of the same data and network."""
    from ..records import checkpoint
    from ..runs.weights import of_kind

    state = checkpoint.latest(path) if path.is_dir() else None
    if state is None:
        raise UserError(f"{path} is not the directory of a run that has reached a checkpoint: give one")
    if state["data"] != run.data:
        raise UserError(f"{path} and {run.directory.path} were trained on other data: there is no loss for both")
    return _of_state(of_kind(kind, state, RunDirectory(path))["model"], run, names, path)


def _of_state(model: dict[str, Tensor], run: Restored, names: list[str], path: Path) -> list[Tensor]:
    found = [model.get(name) for name in names]
    parameters = dict(run.model.named_parameters())
    if any(p is None or p.shape != parameters[name].shape for name, p in zip(names, found, strict=True)):
        raise UserError(f"the network of {path} is not that of {run.directory.path}: their weights have other shapes")
    return [p.to(run.device) for p in found if p is not None]


def _way(run: Restored, names: list[str]) -> dict[str, list[Tensor]]:
    """The first weights and those of all checkpoints in the run's directory, by the passes done."""
    from ..records import checkpoint

    initial = dict(run.untrained().named_parameters())
    found = {0.0: [initial[name].detach() for name in names]}
    for file in sorted(run.directory.path.glob("*.pt")):
        if checkpoint.is_ours(file) and "evaluations" in (state := checkpoint.load(file)):
            passes = state["evaluations"] * run.conf.batch_size / run.task.examples
            found.setdefault(passes, _of_state(state["model"], run, names, file))
    if len(found) < 3:
        raise UserError(
            f"{run.directory.path} holds {len(found) - 1} checkpoint{'s' * (len(found) != 2)} to draw a way through, "
            "and two are needed: copy checkpoint.pt there under other names (*.pt) while a run trains"
        )
    digits = next(n for n in range(3, 18) if len({f"{passes:.{n}g}" for passes in found}) == len(found))
    return {f"{passes:.{digits}g}": found[passes] for passes in sorted(found)}


def _progress(what: str) -> Callable[[Iterable[int]], Iterable[int]]:
    from tqdm import tqdm

    return partial(tqdm, desc=what, unit="point", disable=None, leave=False)


def _write(
    folder: Path, name: str, found: Landscape, axes: list[str], options: Any, run: Restored, paths: list[Path]
) -> None:
    import numpy as np

    from ..flatness.landscape_figure import draw
    from ..reporting.style import save

    shown = [RunDirectory(path).shown() for path in paths]
    how = f"{options.split} batches, batch norm {options.batch_norm}" + f", weights={options.weights}" * (
        options.weights != "last"
    )
    units = {key: run.task.metrics[key].unit for key in found.values if key in run.task.metrics}
    several = [*(f"{LETTERS[i]}: {each}" for i, each in enumerate(shown)), how]
    figure = draw(found, axes, units, f"{shown[0]} ({how})" if len(shown) == 1 else "\n".join(several))
    arrays: dict[str, Any] = {key: value.numpy() for key, value in found.values.items()}
    arrays |= {f"axis_{i + 1}": axis.numpy() for i, axis in enumerate(found.axes)}
    arrays |= {"mark_names": np.array(list(found.marks)), "marks": np.array(list(found.marks.values()))}
    arrays |= {"runs": np.array(shown), "seed": options.seed, "split": options.split, "batch_norm": options.batch_norm}
    arrays["weights"] = options.weights
    for kind in ("png", "pdf"):
        replace(folder / f"{name}.{kind}", lambda file, kind=kind: save(figure, file, kind, dpi=200))  # type: ignore[misc]
    content = io.BytesIO()
    np.savez(content, **arrays)
    replace(folder / f"{name}.npz", lambda file: (file.write(content.getbuffer()), None)[1])
    print(f"{RunDirectory(folder).shown()}/{name}.png, .pdf, .npz")


def _compare(run: Restored, options: Any, found: Landscape, paths: list[Path]) -> None:
    """Print the loss at the first run's weights, and whether it is result.json's."""
    place = tuple((axis == at).nonzero() for axis, at in zip(found.axes, next(iter(found.marks.values())), strict=True))
    if options.trajectory or any(len(each) != 1 for each in place):
        return
    value = float(found.values["loss"][tuple(int(each) for each in place)])
    whose = f"{options.split}_loss at the weights of {RunDirectory(paths[0]).shown()}"
    key = f"{options.split}_loss" + f"_{options.weights}" * (options.weights != "last")
    known = read_json(run.directory.result).get(key) if run.directory.finished else None
    if known in (None, value):
        print(f"{whose}: {value:.6g}" + ", as in result.json" * (known is not None))
    else:
        print(f"{whose}: {value}, while result.json has {known}")
