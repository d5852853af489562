"""Put a run where a checkpoint is, its own or that of the run it continues, and say what is not as before."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

from ..configuration.schema import TrainConf
from ..data.augment import augmentation
from ..errors import UserError
from ..files import read_json
from ..optim.state import kept_by_chains
from ..parallel.cores import threads
from ..parallel.ranks import Ranks
from ..records.directory import RunDirectory
from ..training.loop import Trainer
from ..training.schedules import OF_THE_TOTAL
from .build import load_weights
from .chain import Chain, restore_settings, schedule, settings
from .continuation import completed, differences, may_differ

log = logging.getLogger(__name__)


def resume(trainer: Trainer, state: dict[str, Any], chain: Chain) -> None:
    """Put the trainer where the checkpoint is. Raises UserError if configuration, data or network are not the same."""
    directory, here = trainer.directory, trainer.identity["configuration"]
    there = completed(state["configuration"], here)
    lengthens = here["continue_from"] != there["continue_from"]
    if different := differences(there, here, may_differ(there, here) if lengthens else None):
        raise UserError(f"the checkpoint in {directory} is of another configuration: {different}")
    _check_shifts(trainer, there, state["configuration"])
    if state["data"] != trainer.identity["data"]:
        raise UserError(
            f"the data are not those that {directory} began with: put them back, or start again with force=true"
        )
    load_weights(trainer.model, state, directory)  # before the rest, for its message
    if lengthens:
        state = {**state, "average": _average(state, there, here, chain), "best": _best(state, there, here)}
    if not chain.begins:
        trainer.load_state(state)
    elif chain.keeps:
        mine = settings(trainer.optimizer)
        trainer.load_state(state)
        restore_settings(trainer.optimizer, mine)
    else:
        trainer.load_state({**state, "optimizer": None, "ranks": []})


def _average(state: Mapping[str, Any], there: Mapping[str, Any], here: Mapping[str, Any], chain: Chain) -> Any:
    """What a run takes over of the mean of the one that it continues; None: it begins a new one.

    A part that is made longer continues it, as one long run would. The tail of swa is one of the total.
    """
    keys = [key for key in here if key.startswith("train.average")]
    same = all(there.get(key) == here[key] for key in keys)
    return state.get("average") if same and not chain.begins and here["train.average"] != "swa" else None


def _best(state: Mapping[str, Any], there: Mapping[str, Any], here: Mapping[str, Any]) -> Any:
    """What a run takes over of the best evaluation of the one that it continues; its patience begins again."""
    before = state.get("best")
    if before is None or (here["train.keep"] == "best" and there["train.keep"] != "best"):  # without its weights
        return None
    return {**before, "since": state["evaluations"], "ended": False}


def _check_shifts(trainer: Trainer, there: Mapping[str, Any], recorded: Mapping[str, Any]) -> None:
    """Images were shifted by 4 pixels, whatever their size, before there was a key for it."""
    size = trainer.objective.task.shape.get("image_size", 0)
    older = there.get("dataset.augment") == "flip_crop" and "dataset.crop_padding" not in recorded
    if older and augmentation("flip_crop", size) != augmentation("flip_crop", size, padding=4):
        raise UserError(
            f"{trainer.directory} began with images shifted by up to 4 pixels; of {size} pixels they now are by an "
            "eighth: start again with force=true dataset.crop_padding=4"
        )


def log_what_changed(conf: TrainConf, trainer: Trainer, state: dict[str, Any], chain: Chain, ranks: Ranks) -> None:
    """The lines of the log for a run that does not begin at its beginning."""
    log.info("resuming from pass %.4g%s", trainer.passes, _continued(conf, trainer, state, chain))
    for key, what in (("threads", "threads"), ("world", "ranks")):
        now, before = trainer.identity[key], state[key]
        if now != before:
            log.warning("%d %s, not %d as before: no longer bit for bit the same run", now, what, before)
    kept, here = trainer.identity["threads"], threads(ranks.local_world)
    if conf.hardware.threads is None and kept > here:
        log.warning(
            "%d threads as before, where OMP_NUM_THREADS or the cores leave %d to this process: hardware.threads=%d is "
            "faster, and no longer bit for bit the same run", kept, here, here,
        )  # fmt: skip
    log_other_rounding(conf, RunDirectory(trainer.directory), trainer.objective.task.setting.device)
    chains = max(1, len(state["ranks"]))
    other = conf.hardware.share == "chains" and chains != trainer.identity["world"]
    if other and kept_by_chains(trainer.optimizer):
        log.warning("optimizer.inner_state=keep: rank r takes what the chain of rank r modulo %d kept", chains)


def log_other_rounding(conf: TrainConf, directory: RunDirectory, device: torch.device) -> None:
    """Before the record had `tf32`, hardware.precision=float32 left a GPU's convolutions to torch, which took TF32."""
    recorded = directory.provenance
    if device.type != "cuda" or conf.hardware.precision != "float32" or not recorded.exists():
        return
    if "tf32" not in read_json(recorded):
        log.warning(
            "hardware.precision=float32 was TF32 in a GPU's convolutions when this run began, and now is float32: no "
            "longer bit for bit the same run, and slower"
        )


def _continued(conf: TrainConf, trainer: Trainer, state: dict[str, Any], chain: Chain) -> str:
    """What it means that the checkpoint is of the run that this one continues; "" if it is not."""
    before = state["configuration"]["epochs"]
    if chain.begins:
        took, name = chain.ended[-1]["gradient_evaluations"], chain.ended[-1]["optimizer"]
        kept = "keeps its state" if chain.keeps else "begins without a state"
        return (
            f" of a run of {before:g}: after {took} gradient evaluations of {name} a new part, whose optimizer "
            f"({conf.optimizer.name}) {kept} and whose schedule ({conf.schedule.name}) begins here"
        )
    if before == conf.epochs:
        return ""
    if conf.optimizer.name == "lbfgs":
        return f" of a run of {before:g}, whose last step was cut to its budget: not the same as one of {conf.epochs:g}"
    if conf.schedule.name not in OF_THE_TOTAL:
        return f" of a run of {before:g}, as one run of {conf.epochs:g} would"
    ended, now = (schedule(conf, epochs, trainer.budget)(before) for epochs in (before, conf.epochs))
    rate = "rate" if conf.schedule.of == "both" else conf.schedule.of
    return (
        f" of a run of {before:g}: schedule={conf.schedule.name} depends on the total, so the {rate} resumes at "
        f"{now:.3g} times its initial value, where that run had come down to {ended:.3g}; not the same as one run of "
        f"{conf.epochs:g}"
    )
