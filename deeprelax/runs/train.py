"""The composition root of a run: from its configuration to its parts, to the trained network, to result.json."""

from __future__ import annotations

import dataclasses
import functools
import logging
from typing import Any

import torch
from torch import nn

from .. import files
from ..configuration.schema import TrainConf
from ..errors import UserError
from ..optim import LBFGS
from ..optim.batchnorm import has_batch_norm
from ..optim.state import kept_by_chains
from ..parallel.ranks import SOLO, Ranks
from ..parallel.signals import Requests
from ..records import checkpoint
from ..records.directory import RunDirectory
from ..records.provenance import device_name, provenance
from ..tasks.task import Task
from ..training.cadence import Budget, Cadence
from ..training.collectives import Collectives
from ..training.evaluation import scores
from ..training.guard import Guard, GuardedStep
from ..training.journal import Journal
from ..training.loop import Trainer
from ..training.objective import Autocast, Loss, Objective
from ..training.schedules import Schedule, make_schedule
from ..training.share import Share
from ..training.stepper import Stepper
from ..training.stop import Stop
from .build import build_model, build_optimizer, build_task, load_weights, set_up_cpu
from .continuation import LENGTH, decisive, differences
from .determinism import deterministic
from .failures import compile_problem, is_out_of_memory, views_explained

log = logging.getLogger(__name__)
LIKELY = ("lr", "inner_lr", "gamma", "sigma", "temperature")  # the keys that may be behind a value that is not finite


def train(conf: TrainConf, directory: RunDirectory, device: torch.device, ranks: Ranks = SOLO) -> None:
    """Train in `directory`, from its checkpoint if there is one; the main rank writes result.json."""
    with deterministic(conf.deterministic):
        try:
            with views_explained(conf.hardware):
                _train(conf, directory, device, ranks)
        except Exception as error:
            if (problem := compile_problem(error)) is not None:
                raise UserError(f"hardware.compile=true, but {problem}") from None
            if is_out_of_memory(error):
                reason = str(error).strip().partition("\n")[0] or "no more is there"
                raise UserError(
                    f"not enough memory ({reason}): lower batch_size or dataset.image_size, or take a smaller network"
                ) from None
            raise


def _train(conf: TrainConf, directory: RunDirectory, device: torch.device, ranks: Ranks) -> None:
    state = checkpoint.latest(directory.path, rename_corrupt=ranks.main)
    set_up_cpu(conf.hardware, state["threads"] if state else None, ranks)
    task = build_task(conf, device, Share(ranks, conf.hardware.share))
    model = build_model(conf.model, task, conf.seed, device, channels_last=conf.hardware.channels_last)
    if conf.batch_size // ranks.world == 1 and has_batch_norm(model):
        raise UserError(
            f"batch_size={conf.batch_size} leaves one {task.noun} to a rank, and batch norm needs two: raise it"
        )
    optimizer = build_optimizer(conf.optimizer, model)
    trainer = compose(conf, task, model, optimizer, directory, ranks)
    _announce(conf, task, trainer.budget)
    if state is not None:
        _resume(conf, trainer, state)
    reached = (trainer.evaluations, trainer.outer_steps)
    if ranks.from_main(reached) != reached:
        raise UserError(f"{directory.checkpoint} is not the same file on all machines: put output_dir on a shared disk")
    if state is not None:
        _log_what_changed(conf, trainer, state)
    if ranks.main:
        files.write_json(directory.provenance, provenance(device, ranks.world, task.metrics))
    trainer.fit()
    if ranks.main:
        task.report(model, directory.path)
        files.write_json(directory.result, _result(conf, trainer, device, ranks))
    trainer.stop.raise_if_late()


def compose(
    conf: TrainConf, task: Task, model: nn.Module, optimizer: Stepper, directory: RunDirectory, ranks: Ranks = SOLO
) -> Trainer:
    """Everything that trains, put together from a configuration."""
    budget = _budget(conf, task, optimizer)
    stop = Stop(Requests(), ranks, task.setting.device)
    objective = compose_objective(conf, task, model, optimizer, ranks, stop.flags)
    autocast = Autocast(conf.hardware.precision, task.setting.device)
    loop, skips, alone = conf.train, conf.train.on_nonfinite == "skip", ranks.world == 1
    return Trainer(
        model=model,
        optimizer=optimizer,
        objective=objective,
        share=Share(ranks, conf.hardware.share),
        step=GuardedStep(
            model, optimizer, objective, can_abort=alone, skips=skips, graphs=conf.hardware.cuda_graphs and alone
        ),
        evaluate=functools.partial(scores, task, model, task.statistics(loop.bn_batches), autocast, ranks),
        budget=budget,
        schedule=_schedule(conf, conf.epochs),
        cadence=Cadence(
            budget, loop.record_every, loop.evaluate_every, loop.checkpoint_every, loop.checkpoint_seconds, ranks.main
        ),
        guard=Guard(
            model,
            optimizer,
            skips,
            lower=[f"optimizer.{key}" for key in LIKELY if hasattr(conf.optimizer, key)],
            has_checkpoint=directory.checkpoint.exists,
            passes=lambda: budget.passes(objective.evaluations),
        ),
        stop=stop,
        journal=Journal(directory.path, budget, task, main=ranks.main),
        directory=directory.path,
        writes=ranks.main,
        identity={
            "configuration": decisive(dataclasses.asdict(conf)),
            "data": task.fingerprint,
            "threads": torch.get_num_threads(),
            "world": ranks.world,
        },
    )


def _budget(conf: TrainConf, task: Task, optimizer: Stepper) -> Budget:
    least = optimizer.least if isinstance(optimizer, LBFGS) else None
    return Budget(conf.epochs, task.examples, conf.batch_size, optimizer.evaluations, least)


def compose_objective(
    conf: TrainConf, task: Task, model: nn.Module, optimizer: Stepper, ranks: Collectives, stop: torch.Tensor
) -> Objective:
    """This rank's share of the objective; also tells the optimizer what the ranks average, `stop` among it."""
    share, hardware, device = Share(ranks, conf.hardware.share), conf.hardware, task.setting.device
    share.average(optimizer, stop)
    loss = Loss(task, model, Autocast(hardware.precision, device))
    wrapped = share.wrapped(loss, device, sync_batchnorm=hardware.sync_batchnorm, compiled=hardware.compile)
    return Objective(
        wrapped, task, ranks.rank, graphs=hardware.cuda_graphs, after_backward=share.after_backward(loss),
        fixed=isinstance(optimizer, LBFGS),  # whose line search and curvature are of one function
    )  # fmt: skip


def _schedule(conf: TrainConf, epochs: float) -> Schedule:
    return make_schedule(conf.schedule.name, conf.schedule.milestones, conf.schedule.factor, epochs)


def _resume(conf: TrainConf, trainer: Trainer, state: dict[str, Any]) -> None:
    """Put the trainer where the checkpoint is. Raises UserError if configuration, data or network are not the same."""
    directory, there = trainer.directory, state["configuration"]
    lengthens = conf.continue_from != there["continue_from"]
    if different := differences(there, trainer.identity["configuration"], LENGTH if lengthens else None):
        raise UserError(f"the checkpoint in {directory} is of another configuration: {different}")
    if state["data"] != trainer.identity["data"]:
        raise UserError(
            f"the data are not those that {directory} began with: put them back, or start anew with force=true"
        )
    load_weights(trainer.model, state, directory)  # before the rest, for its message
    trainer.load_state(state)


def _log_what_changed(conf: TrainConf, trainer: Trainer, state: dict[str, Any]) -> None:
    log.info("going on from pass %.4g%s", trainer.passes, _lengthened(conf, state))
    for key, what in (("threads", "threads"), ("world", "ranks")):
        now, before = trainer.identity[key], state[key]
        if now != before:
            log.warning("%d %s, not %d as before: no longer bit for bit the same run", now, what, before)
    chains = max(1, len(state["ranks"]))
    if conf.hardware.share == "chains" and chains != trainer.identity["world"] and _keeps(trainer):
        log.warning("optimizer.inner_state=keep: rank r takes what the chain of rank r modulo %d kept", chains)


def _keeps(trainer: Trainer) -> bool:
    return bool(kept_by_chains(trainer.optimizer))


def _lengthened(conf: TrainConf, state: dict[str, Any]) -> str:
    """What it means for the schedule that the checkpoint is of a shorter run; "" if it is not."""
    before = state["configuration"]["epochs"]
    if before == conf.epochs:
        return ""
    if conf.optimizer.name == "lbfgs":
        return f" of a run of {before:g}, whose last step was cut to its budget: not the same as one of {conf.epochs:g}"
    if conf.schedule.name != "cosine":
        return f" of a run of {before:g}, as one run of {conf.epochs:g} would"
    ended, now = (_schedule(conf, epochs)(before) for epochs in (before, conf.epochs))
    return (
        f" of a run of {before:g}: schedule=cosine depends on the total, so the lr goes on at {now:.3g} times its "
        f"initial value, where that run had come down to {ended:.3g}; not the same as one run of {conf.epochs:g}"
    )


def _announce(conf: TrainConf, task: Task, budget: Budget) -> None:
    steps = f"{budget.outer_steps} outer steps" if budget.least is None else f"outer steps of {budget.per_step} at most"
    log.info(
        "%s on %s with %s: %g passes over %d %ss = %d gradient evaluations of %d %ss, %s",
        conf.model.name, conf.dataset.name if task.takes_data else conf.task.name, conf.optimizer.name, budget.epochs,
        budget.examples, task.noun, budget.evaluations, budget.batch_size, task.noun, steps,
    )  # fmt: skip
    if budget.least is not None and budget.batch_size < budget.examples:
        log.warning(
            "f is the loss of batch 0 alone, %d of %d %ss: batch_size=%d takes all",
            budget.batch_size, budget.examples, task.noun, budget.examples,
        )  # fmt: skip
    if problem := _schedule_problem(conf):
        log.warning(problem)
    if abs(budget.taken / budget.evaluations - 1) > 0.02:
        log.warning(
            "whole outer steps of %d come to %d evaluations, not %d", budget.per_step, budget.taken, budget.evaluations
        )


def _schedule_problem(conf: TrainConf) -> str:
    """A step schedule whose steps all lie behind the end; "" if there is none."""
    late = conf.schedule.name == "step" and conf.schedule.milestones
    if late and min(conf.schedule.milestones) >= conf.epochs:
        first = min(conf.schedule.milestones)
        return f"schedule.milestones begin at {first:g}, beyond epochs={conf.epochs:g}: the lr never changes"
    return ""


def _result(conf: TrainConf, trainer: Trainer, device: torch.device, ranks: Ranks) -> dict[str, Any]:
    budget, clock, task = trainer.budget, trainer.clock, trainer.objective.task
    return {
        "dataset": conf.dataset.name,
        "model": conf.model.name,
        "optimizer": conf.optimizer.name,
        "seed": conf.seed,
        "epochs": conf.epochs,
        "batch_size": conf.batch_size,
        "budget": budget.evaluations,
        "gradient_evaluations": trainer.evaluations,
        "outer_steps": trainer.outer_steps,
        "skipped_steps": trainer.guard.skipped,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        task.result_keys[0]: budget.examples,
        **{f"{split}_{name}": value for split, scores in trainer.scores.items() for name, value in scores.items()},
        "seconds": clock.seconds,
        task.result_keys[1]: trainer.evaluations * budget.batch_size / clock.step_seconds,
        "device": device_name(device),
        "precision": conf.hardware.precision,
        "threads": torch.get_num_threads(),
        "ranks": ranks.world,
        "share": conf.hardware.share,
    }
