"""Which run may resume from which: one of the same configuration, or one that continues a finished one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from .. import files
from ..configuration.check import load, stored
from ..configuration.rules import rules_before
from ..configuration.run_name import BEFORE, CLASSES_BEFORE, FOLDERS_BEFORE, WITHOUT_EFFECT
from ..configuration.schema import TrainConf
from ..errors import UserError
from ..files import flat
from ..records.directory import RunDirectory, named

LENGTH = {"epochs", "continue_from", "init_from"}  # what a run that continues a finished one may have of its own
KEPT = {  # and what is looked at beside x
    *(f"train.average{key}" for key in ("", "_decay", "_from", "_every", "_last")),
    "train.keep",
    "train.patience",
}
METHOD = ("optimizer.", "schedule.", "train.clip_norm")  # and with what keys of these begin a new part


def decisive(values: Mapping[str, Any]) -> dict[str, Any]:
    """The flat configuration without the keys that cannot change the result."""
    return {key: value for key, value in flat(values).items() if key not in WITHOUT_EFFECT}


def completed(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's decisive configuration, with what older versions did for the keys of `here` that it lacks."""
    known = (
        flat(BEFORE)
        | flat(CLASSES_BEFORE)
        | flat(FOLDERS_BEFORE)
        | flat({"optimizer": rules_before(str(there.get("optimizer.name")))})
    )
    return {key: value for key, value in known.items() if key in here} | decisive(there)


def differences(there: Mapping[str, Any], here: Mapping[str, Any], apart: set[str] | None = None) -> str:
    """The keys, but those in `apart`, in which two decisive configurations differ, with both values; "" for none."""
    keys = sorted((there.keys() | here.keys()) - (apart or set()))
    pairs = [(key, there.get(key, "absent"), here.get(key, "absent")) for key in keys]
    return "; ".join(f"{key} is {theirs} there and {ours} here" for key, theirs, ours in pairs if theirs != ours)


def may_differ(there: Mapping[str, Any], here: Mapping[str, Any]) -> set[str]:
    """The keys in which a finished run and the one that continues it may differ."""
    return LENGTH | KEPT | {key for key in there.keys() | here.keys() if key.startswith(METHOD)}


def check_same(conf: TrainConf, config: DictConfig, directory: RunDirectory) -> None:
    """Raise UserError, listing the keys, if the directory holds a run of another configuration."""
    file = directory.config
    if file.exists() and (different := differences(_stored(file), _decisive(config))):
        if conf.continue_from is not None:
            named("continue_from", conf.continue_from, conf.seed)  # raises if it is gone, with what was taken from it
        raise UserError(
            f"{directory.path} holds a run of another configuration ({different}): "
            "force=true starts it again, another output_dir keeps both"
        )


def start_from_finished(conf: TrainConf, config: DictConfig, directory: RunDirectory) -> None:
    """Give a run with `continue_from` the finished run's checkpoint and records, unless it has a checkpoint already.

    Raises UserError if there is no finished run, it is not shorter, or it differs in more than it may.
    """
    if conf.continue_from is None or directory.has_checkpoint:
        return
    source = named("continue_from", conf.continue_from, conf.seed)
    if not source.finished:
        raise UserError(f"continue_from={source.path} is not finished: its own command finishes it")
    load(source.config)  # raises if it is corrupt
    there, here = _stored(source.config), _decisive(config)
    if different := differences(there, here, may_differ(there, here)):
        raise UserError(
            f"continue_from={source.path} is a run of another configuration ({different}): "
            "only epochs, optimizer, schedule, train.average, train.keep, train.patience, train.clip_norm and what "
            "cannot change the result may differ"
        )
    ended = files.read_json(source.result)
    early = ended.get("stopped_early") and ended["gradient_evaluations"] < ended["budget"]
    if conf.epochs < there["epochs"] or (conf.epochs == there["epochs"] and not early):
        raise UserError(
            f"epochs={conf.epochs:g}, but continue_from={source.path} has done {there['epochs']:g}: give the new total"
        )
    from ..records import checkpoint  # imports torch

    checkpoint.load(source.checkpoint)  # raises if it is corrupt
    _copy(source.metrics, directory.metrics)
    if conf.train.keep == "best" and source.best.exists():
        _copy(source.best, directory.best)
    _copy(source.checkpoint, directory.checkpoint)  # last: with it the run counts as begun


def initial_place(conf: TrainConf) -> Path | None:
    """The run's directory or the file that `init_from` names, if it does. Raises UserError if it is not there."""
    if conf.init_from is None:
        return None
    path = Path(conf.init_from).expanduser()
    if path.is_dir():
        return named("init_from", conf.init_from, conf.seed).path
    if not path.is_file():
        raise UserError(f"init_from={conf.init_from} is not there: give the directory of a run, or a file of weights")
    return path


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as there:
        files.replace(target, lambda here: shutil.copyfileobj(there, here))


def _stored(file: Path) -> dict[str, Any]:
    return _decisive(stored(file))


def _decisive(config: DictConfig) -> dict[str, Any]:
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return decisive({str(key): value for key, value in values.items()})
