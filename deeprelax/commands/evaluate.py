"""Run `deeprelax evaluate`: compute the scores of a run's checkpoint again."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError, did_you_mean
from ..files import read_json
from ..records.directory import RunDirectory
from ..records.scores import of_key
from .arguments import Parser, add_weights

if TYPE_CHECKING:
    import torch

    from ..runs.restored import Restored

USAGE = """Evaluate a run again from its checkpoint.

Usage: deeprelax evaluate RUN [weights=last|best|average] [KEY=VALUE ...]
  RUN is a run directory, as printed by `deeprelax train`; run=RUN means the same.
  weights: those of the last checkpoint (the default), of the best evaluation (of a run with train.keep=best), or the
  mean (train.average); --weights best means the same.
  Keys that may be set here: data_dir, dataset.path, hardware.device, hardware.channels_last, hardware.precision,
  hardware.threads.
  dataset.path=FOLDER: where the images of a run of dataset=image_folder are now; or, for any run on images, others:
  those in FOLDER/test/<class>/ or FOLDER/<class>/ are scored with the run's own normalisation."""
ALLOWED = (
    "data_dir",
    "dataset.path",
    *(f"hardware.{key}" for key in ("device", "channels_last", "precision", "threads")),
)


def main(arguments: list[str]) -> None:
    """Evaluate the run that the arguments name. Raises UserError."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print(USAGE)
        return
    of_weights = Parser(prog="deeprelax evaluate", add_help=False)
    add_weights(of_weights)
    options, rest = of_weights.parse_known_args(arguments)
    overrides = [each for each in rest if each.partition("=")[0] in ALLOWED]
    runs = [each.removeprefix("run=") for each in rest if each not in overrides]
    for key in (each.partition("=")[0] for each in runs if "=" in each and not Path(each).exists()):
        raise UserError(
            f"{key} cannot be set here{did_you_mean(key, ('weights', *ALLOWED))}: evaluate takes "
            f"{', '.join(ALLOWED)} and weights; all else is as in the run"
        )
    if len(runs) != 1:
        raise UserError(f"evaluate takes one run directory, not {len(runs)} ({' '.join(runs) or 'none'})")
    evaluate(Path(runs[0]), overrides, options.weights)


def evaluate(path: Path, overrides: list[str], weights: str = "last") -> dict[str, float]:
    """Print and return the loss and the task's scores on test data, and on validation data if they were held out.

    overrides: "key=value" for keys of ALLOWED. weights: last, best or average. With a dataset.path that has other
    images than the run's, the numbers are of those. Raises UserError if the directory, its configuration, its
    checkpoint or the data are missing or corrupt, or the run has no such weights.
    """
    folders = [each.partition("=")[2] for each in overrides if each.startswith("dataset.path=")]
    if folders:
        moved = _moved(path, overrides, weights)
        if moved is None:
            return _others(path, Path(folders[-1]).expanduser(), overrides, weights)
        return _evaluated(moved, weights)
    from ..runs.restored import restored

    return _evaluated(restored(path, overrides, weights), weights)


def _moved(path: Path, overrides: list[str], weights: str) -> Restored | None:
    """The run, if its own images are where the overrides say; None if others are."""
    from ..configuration.check import load
    from ..configuration.datasets import ImageFolderConf
    from ..runs.restored import restored

    if not path.is_dir():
        raise UserError(f"{path} is not a directory: give the directory of a run")
    of_run = load(RunDirectory(path).config).dataset
    if not isinstance(of_run, ImageFolderConf):
        return None
    there = Path(load(RunDirectory(path).config, overrides).dataset.path or "").expanduser()  # type: ignore[attr-defined]
    if there.resolve() == Path(of_run.path or "").expanduser().resolve():  # its own, or they have changed
        run = restored(path, overrides, weights)
        if run.data != run.task.fingerprint:
            raise UserError(
                f"the images in {there} are not those that {path} was trained on, though they lie there: put others "
                "into a folder of their own, or most that are scored may be training images"
            )
        return run
    _device(path, overrides)  # what it refuses has nothing to do with the images
    reader = logging.getLogger("deeprelax.data.sources")
    level = reader.level
    reader.setLevel(logging.ERROR)  # what it says of the folder would be of training on it
    try:
        run = restored(path, overrides, weights)
    except UserError:  # of a folder that no run could be of, as one without train/
        return None
    finally:
        reader.setLevel(level)
    return run if run.data == run.task.fingerprint else None


def _device(path: Path, overrides: list[str]) -> torch.device:
    """That of the hardware.* keys among the overrides; sets the threads."""
    from ..configuration.check import load
    from ..runs.build import choose_device, set_up_cpu

    ours = [each for each in overrides if each.startswith("hardware.")]
    device = [] if any(each.startswith("hardware.device=") for each in ours) else ["hardware.device=auto"]
    of_cpu = ["hardware.sync_batchnorm=false", "hardware.cuda_graphs=false"]  # of training alone
    hardware = load(RunDirectory(path).config, [*device, *of_cpu, *ours]).hardware
    set_up_cpu(hardware)
    return choose_device(hardware)


def _others(path: Path, folder: Path, overrides: list[str], weights: str) -> dict[str, float]:
    """Print and return the scores on other images: their mean loss, -log p of their class, and their error."""
    import torch

    from ..data.sources.pictures import labelled, labelled_folder
    from ..runs.inference import load_model, predicted
    from ..tasks.confusion import balanced_error, confusion
    from .predict import scored

    model = load_model(path, weights)
    if not folder.is_dir():
        raise UserError(f"dataset.path={folder} is not a folder: give the one that holds the images")
    place = labelled_folder(folder, model.classes)
    if place is None:
        raise UserError(
            f"{folder} holds no folder that is called as a class of {path} ({', '.join(model.classes)}), nor does "
            f"{folder / 'test'}: images belong into <class>/"
        )
    pictures = labelled(place, model.classes)
    assert pictures.labels is not None
    log_p = predicted(model, pictures, _device(path, overrides))
    matrix = confusion(pictures.labels, log_p.argmax(1), len(model.classes))
    values = {
        "test_loss": float(torch.nn.functional.nll_loss(log_p.double(), pictures.labels)),
        "test_error": 100 * (1 - float(matrix.diagonal().sum()) / len(pictures.labels)),
        "test_balanced_error": balanced_error(matrix),
    }
    for name, value in values.items():
        print(f"{name} {value:.6g}{'' if name == 'test_loss' else ' %'}")
    print(f"{scored(log_p, pictures.labels, model.classes)}\n({model.of})")
    print(f"({len(pictures.labels)} images of {place}, which are not those of the run)")
    return values


def _evaluated(run: Restored, weights: str) -> dict[str, float]:
    from ..parallel.ranks import SOLO
    from ..runs.failures import views_explained
    from ..runs.precision import single_precision
    from ..training.evaluation import scores
    from ..training.objective import Autocast

    task, hardware = run.task, run.conf.hardware
    autocast = Autocast(hardware.precision, run.device)
    with views_explained(hardware), single_precision(hardware.precision, run.device):
        found = scores(task, run.model, task.statistics(run.conf.train.bn_batches), autocast, SOLO)
    values = {f"{split}_{name}": value for split, numbers in found.items() for name, value in numbers.items()}
    for name, value in values.items():
        print(f"{name} {value:.6g} {of_key(name, task.metrics).unit}".rstrip())
    print(f"({run.of})")
    _compare(run.directory.result, values, weights)
    return values


def _compare(file: Path, values: dict[str, float], weights: str) -> None:
    """Print whether the values agree with those of these weights in result.json in the digits that are printed."""
    if not file.exists():
        print("(the run is not finished: these are the numbers of its last checkpoint)")
        return
    result = read_json(file, scores=["test_loss"])
    suffix = "" if weights == "last" else f"_{weights}"
    values = {f"{name}{suffix}": value for name, value in values.items()}
    known = {name: result[name] for name in values if name in result}  # a score may be newer than the run
    same = all(f"{number:.6g}" == f"{values[name]:.6g}" for name, number in known.items())
    print("as in result.json" if same else f"result.json has {', '.join(f'{k} {v:.6g}' for k, v in known.items())}")
