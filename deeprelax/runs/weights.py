"""Which weights of a run: the last ones, those of its best evaluation, or the mean; on resume and afterwards."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..configuration.schema import LoopConf, TrainConf
from ..errors import UserError
from ..parallel.ranks import Ranks
from ..ranges import any_of
from ..records import checkpoint
from ..records.directory import RunDirectory
from ..records.scores import first
from ..tasks.task import Task
from ..training.average import SUFFIX, Average
from ..training.best import Best
from ..training.cadence import Budget
from ..training.loop import Trainer

log = logging.getLogger(__name__)
KINDS = ("last", "best", "average")


def of_kind(kind: str, state: Mapping[str, Any], directory: RunDirectory) -> dict[str, Any]:
    """The checkpoint with the weights of this kind as its "model", and "of": what they are, for the reader.

    Raises UserError for another word, and if the run has no such weights.
    """
    if kind not in KINDS:
        raise UserError(f"weights={kind} is unknown: it must be {any_of(KINDS)}")
    at, model = state["evaluations"], state["model"]
    if kind == "best":
        at, model = _best(state, directory)
    elif kind == "average":
        model = {**model, **_mean(state, directory)}
    return {**state, "model": model, "of": f"weights={kind}, after {at} gradient evaluations"}


def _best(state: Mapping[str, Any], directory: RunDirectory) -> tuple[int, dict[str, Any]]:
    found, where = (state.get("best") or {}).get("found"), directory.shown()
    if state["configuration"].get("train.keep", "last") != "best":
        raise UserError(f"weights=best: {where} has none, for it was trained with train.keep=last: take last")
    if not found:
        raise UserError(f"weights=best: {where} has none yet, for it was not evaluated before its last checkpoint")
    at = found["evaluations"]
    if at not in (kept := checkpoint.kept_best(directory.path)):
        raise UserError(
            f"weights=best: {directory.best} is missing, corrupt or not of the evaluation after {at} gradient "
            "evaluations, which was the best: put it back, or take weights=last"
        )
    return at, dict(kept[at][1]["model"])


def _mean(state: Mapping[str, Any], directory: RunDirectory) -> dict[str, Any]:
    """The mean with the buffers that belong to it, of those that are in a state dict."""
    average, where = state.get("average"), directory.shown()
    if average is None:
        raise UserError(f"weights=average: {where} has none, for it was trained with train.average=none: take last")
    if not average["mean"]:
        raise UserError(f"weights=average: {where} has none yet, for nothing was averaged before its last checkpoint")
    model, mean = state["model"], average["mean"]
    buffers = {name: tensor for name, tensor in average["buffers"].items() if name in model}
    by_place = {_place(model[name]): m for name, m in mean.items()}
    return buffers | {name: by_place[at] for name, tensor in model.items() if (at := _place(tensor)) in by_place}


def _place(tensor: Tensor) -> tuple[int, torch.Size]:
    """The same for all names of a tied parameter, of which its mean has the first; a checkpoint keeps the tie."""
    return tensor.data_ptr(), tensor.shape


def build_average(conf: LoopConf, model: nn.Module, budget: Budget) -> Average | None:
    """What `train.average` names."""
    if conf.average == "none":
        return None
    return Average(
        model, budget, conf.average, decay=conf.average_decay, start=conf.average_from, every=conf.average_every,
        last=conf.average_last,
    )  # fmt: skip


def check_average(trainer: Trainer) -> None:
    """Where the run begins or resumes. Raises UserError if its mean would stay empty."""
    if trainer.average is not None:
        trainer.average.check(trainer.evaluations)


def build_best(
    conf: TrainConf, task: Task, model: nn.Module, budget: Budget, directory: RunDirectory, *, main: bool
) -> Best | None:
    """What `train.keep` and `train.patience` ask for. Raises UserError if no data are held out for it."""
    keep, patience = conf.train.keep == "best", conf.train.patience
    if not keep and patience is None:
        return None
    if "validation" not in task.splits():
        key = "train.keep=best" if keep else f"train.patience={patience:g}"
        own = [name for name in vars(conf.task) if name.startswith("validation")]
        if task.takes_data:
            advice = "hold images out, as dataset.validation=100"
        else:
            advice = f"hold some out by task.{own[0]}" if own else f"task={conf.task.name} has none; leave it out"
        raise UserError(f"{key} goes by the score on validation data, and this run has none: {advice}")
    name, metric = first(task.metrics)
    save = functools.partial(checkpoint.save_best, directory.path, model) if keep and main else None
    return Best(name, metric, budget, save, patience)


def scores_of_best(trainer: Trainer) -> dict[str, Any]:
    """For result.json: the scores of the best evaluation as test_NAME_best, when it was, and whether the run ended."""
    best = trainer.best
    if best is None or not best.found:
        return {}
    values = {
        f"{split}_{name}_best": value
        for split in ("test", "validation")
        for name, value in best.found["scores"][split].items()
        if not name.endswith(SUFFIX)
    }
    when = {"best_gradient_evaluations": best.found["evaluations"], "best_passes": best.found["passes"]}
    return values | when | ({"stopped_early": trainer.stopped_early} if best.patience is not None else {})


def settle_best(conf: TrainConf, trainer: Trainer, ranks: Ranks) -> None:
    """On resume: put the weights that the checkpoint calls the best where they belong, if the run was killed between.

    Those of a later evaluation, which the checkpoint does not know, are made again. Raises UserError if they are gone.
    """
    best = trainer.best
    if best is None or not best.found or conf.train.keep != "best":
        return
    problem = ""
    if ranks.main:
        at, kept = best.found["evaluations"], checkpoint.kept_best(trainer.directory)
        if at in kept:
            kept[at][0].replace(RunDirectory(trainer.directory).best)
        elif any(n > at for n in kept):  # of a checkpoint that is corrupt: those before were replaced for it
            log.warning("the best weights are of an evaluation behind the checkpoint, and are found again")
            best.found = {}
        else:
            problem = (
                f"{RunDirectory(trainer.directory).best} is missing or corrupt, and the checkpoint refers to it: put "
                "it back, or start again with force=true"
            )
    best.found, problem = ranks.from_main((best.found, problem))
    if problem:  # raised by all: one that waits for the main rank would wait for ever
        raise UserError(problem)
