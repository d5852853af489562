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
from ..digest import drifted
from ..errors import UserError
from ..optim import LBFGS
from ..parallel.ranks import SOLO, Ranks
from ..parallel.signals import Requests
from ..records import checkpoint
from ..records.directory import RunDirectory
from ..records.provenance import device_name, provenance
from ..tasks.task import Task
from ..training.cadence import Budget, Cadence
from ..training.clipping import Clip
from ..training.evaluation import scores
from ..training.guard import Guard, GuardedStep
from ..training.journal import Journal
from ..training.loop import Trainer
from ..training.objective import Autocast, Loss, Objective
from ..training.share import Share
from ..training.stepper import Stepper
from ..training.stop import Stop
from .advice import advice
from .announce import announce
from .build import build_model, build_optimizer, build_task, check_batch, set_up_cpu
from .chain import ALONE, Chain, chain_of, schedule
from .continuation import decisive
from .determinism import deterministic
from .failures import explained
from .inference import as_json, description
from .initial import check_same_file, file_of_weights, start_from
from .parameters import check_rates, described, grouped_by, log_groups
from .peers import loss_explained
from .precision import in_force, single_precision
from .resume import log_what_changed, resume
from .sharing import shared_by
from .weights import build_average, build_best, check_average, scores_of_best, settle_best

log = logging.getLogger(__name__)


def train(conf: TrainConf, directory: RunDirectory, device: torch.device, ranks: Ranks = SOLO) -> None:
    """Train in `directory`, from its checkpoint if there is one; the main rank writes result.json."""
    arithmetic = single_precision(conf.hardware.precision, device)
    with arithmetic, deterministic(conf.deterministic), explained(conf), loss_explained(ranks):
        _train(conf, directory, device, ranks)


def _train(conf: TrainConf, directory: RunDirectory, device: torch.device, ranks: Ranks) -> None:
    state = checkpoint.latest(directory.path, rename_corrupt=ranks.main)
    set_up_cpu(conf.hardware, state["threads"] if state else None, ranks)
    task = build_task(conf, device, Share(ranks, shared_by(conf, ranks.world)))
    model = build_model(conf.model, task, conf.seed, device, channels_last=conf.hardware.channels_last)
    check_batch(conf, model, task, ranks)
    # with a checkpoint that one wins: the weights are not loaded again, and may be gone
    if state is not None:
        check_same_file(conf, state)
    initial = state.get("initial") if state is not None else start_from(conf, model, task.buffers)
    optimizer = build_optimizer(conf.optimizer, model, freezes=bool(conf.model.freeze))
    check_rates(conf, optimizer)
    chain = chain_of(decisive(dataclasses.asdict(conf)), state)
    trainer = compose(conf, task, model, optimizer, directory, ranks, chain)
    chain.check(trainer.budget)
    trainer.identity["initial"] = initial
    announce(conf, task, trainer.budget, optimizer)
    grouped = described(model, conf.optimizer) if conf.model.freeze or grouped_by(conf.optimizer) else {}
    log_groups(grouped, conf.optimizer)
    if state is not None:
        resume(trainer, state, chain)
        settle_best(conf, trainer, ranks)
    reached = (trainer.evaluations, trainer.outer_steps, initial)
    if (main := ranks.from_main(reached)) != reached:
        place = ("init_from", conf.init_from) if conf.init_from else ("model.weights", file_of_weights(conf))
        key, file = place if main[:2] == reached[:2] else ("output_dir", directory.checkpoint)
        raise UserError(f"{file} is not the same file on all machines: put {key} on a shared disk")
    check_average(trainer)
    if state is not None:
        log_what_changed(conf, trainer, state, chain, ranks)
    if ranks.main:
        origin = ({"initial_weights": initial} if initial else {}) | ({"chain": chain.ended} if chain.ended else {})
        files.write_json(
            directory.provenance,
            provenance(device, ranks.world, task.metrics) | {"tf32": in_force(device)} | origin | grouped,
        )
        if task.files:
            files.write_json(directory.split, task.files)
        if (usage := trainer.identity["inference"]) is not None:
            files.write_json(directory.model, as_json(usage))
    trainer.fit()
    if ranks.main:
        told = (task.report(model.eval(), directory.path) or {}) | _parts(conf, trainer, chain)
        files.write_json(directory.result, _result(conf, trainer, device, ranks) | told)
    trainer.stop.raise_if_late()


def compose(
    conf: TrainConf, task: Task, model: nn.Module, optimizer: Stepper, directory: RunDirectory, ranks: Ranks = SOLO,
    chain: Chain = ALONE,
) -> Trainer:  # fmt: skip
    """Everything that trains, put together from a configuration."""
    least = optimizer.least if isinstance(optimizer, LBFGS) else None
    budget = Budget(conf.epochs, task.examples, conf.batch_size, optimizer.evaluations, *chain.before, least)
    share = Share(ranks, shared_by(conf, ranks.world))
    stop = Stop(Requests(), ranks, task.setting.device)
    objective = compose_objective(conf, task, model, optimizer, share, stop.flags)
    autocast = Autocast(conf.hardware.precision, task.setting.device)
    loop, skips, alone = conf.train, conf.train.on_nonfinite == "skip", ranks.world == 1
    graphs = conf.hardware.cuda_graphs and alone and conf.schedule.of == "lr"  # a replay reads that one on the device
    evaluate = functools.partial(scores, task, model, task.statistics(loop.bn_batches), autocast, ranks, train=True)
    average = build_average(loop, model, budget)
    return Trainer(
        model=model,
        optimizer=optimizer,
        objective=objective,
        share=share,
        step=GuardedStep(model, optimizer, objective, can_abort=alone, skips=skips, graphs=graphs),
        evaluate=evaluate if average is None else average.beside(evaluate),
        budget=budget,
        schedule=schedule(conf, conf.epochs, budget),
        scheduled=conf.schedule.of,
        cadence=Cadence(
            budget, loop.record_every, loop.evaluate_every, loop.checkpoint_every, loop.checkpoint_seconds, ranks.main
        ),
        guard=Guard(
            model,
            optimizer,
            skips,
            advice=functools.partial(advice, conf, optimizer, task),
            has_checkpoint=directory.checkpoint.exists,
            passes=lambda: budget.passes(objective.evaluations),
            drifted=functools.partial(drifted, ranks.rank, ranks.world, ranks.sum_),
        ),
        stop=stop,
        journal=Journal(directory.path, budget, task, main=ranks.main, clip=objective.clip),
        directory=directory.path,
        writes=ranks.main,
        identity=_identity(conf, task, ranks, chain),
        average=average,
        best=build_best(conf, task, model, budget, directory, main=ranks.main),
    )


def _identity(conf: TrainConf, task: Task, ranks: Ranks, chain: Chain) -> dict[str, Any]:
    return {
        "configuration": decisive(dataclasses.asdict(conf)),
        "data": task.fingerprint,
        "threads": torch.get_num_threads(),
        "world": ranks.world,
        "chain": chain.ended,
        "inference": description(conf, task),
    }


def compose_objective(
    conf: TrainConf, task: Task, model: nn.Module, optimizer: Stepper, share: Share, flags: torch.Tensor
) -> Objective:
    """This rank's share of the objective; also tells the optimizer what the ranks average, `flags` among it."""
    hardware, device = conf.hardware, task.setting.device
    loss = Loss(task, model, Autocast(hardware.precision, device))
    share.average(optimizer, flags, loss)
    wrapped = share.wrapped(loss, device, sync_batchnorm=hardware.sync_batchnorm, compiled=hardware.compile)
    objective = Objective(
        wrapped, task, share.seeds, graphs=hardware.cuda_graphs, after_backward=share.after_backward(loss, flags),
        fixed=isinstance(optimizer, LBFGS),  # whose line search and curvature are of one function
        turn=share.turn(optimizer),
    )  # fmt: skip
    if conf.train.clip_norm is not None:
        objective.clip = Clip(conf.train.clip_norm, device)
    return objective


def _parts(conf: TrainConf, trainer: Trainer, chain: Chain) -> dict[str, Any]:
    """What a chain's result has beside: the optimizer of each part, and what it took."""
    if not chain.ended:
        return {}
    return {"chain": chain.with_part(conf.optimizer.name, trainer.evaluations, trainer.outer_steps)}


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
        **{f"{split}_{task.noun}s": chunks.examples for split, chunks in task.splits().items() if chunks.examples},
        **{f"{split}_{name}": value for split, scores in trainer.scores.items() for name, value in scores.items()},
        **scores_of_best(trainer),
        "seconds": clock.seconds,
        task.result_keys[1]: trainer.evaluations * budget.batch_size / clock.step_seconds,
        "device": device_name(device),
        "precision": conf.hardware.precision,
        "threads": torch.get_num_threads(),
        "ranks": ranks.world,
        "share": conf.hardware.share,
        "traffic_bytes": trainer.share.traffic_bytes,
    }
