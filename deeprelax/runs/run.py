"""Start, resume or skip the run in a directory, in this process or in one for each rank."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from .. import files
from ..configuration.schema import HardwareConf, TrainConf
from ..errors import UserError
from ..optim.hyperparameters import WITHOUT_CHAIN
from ..parallel import launch
from ..parallel.ranks import Ranks, from_environment
from ..records.directory import RunDirectory
from ..records.scores import first
from . import continuation
from .labels import relabel, with_labels
from .log import logging_to
from .sharing import shared_by

log = logging.getLogger(__name__)


def run(conf: TrainConf, config: DictConfig, directory: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Train as `conf` says, in `directory`; `config` is the same, for the record, as are the `overrides` it came from.

    Returns result.json's content.

    A finished run is skipped, an unfinished one resumed, unless `conf.force`. One rank trains in this process, several
    in processes of their own, unless torchrun has started this one. Raises UserError if the directory holds a run of
    another configuration, another process writes it, the work cannot be shared so, or a file gives trouble.
    """
    try:
        return _run(conf, config, RunDirectory(directory), overrides)
    except OSError as error:
        raise files.file_error(error, directory) from None


def _run(conf: TrainConf, config: DictConfig, directory: RunDirectory, overrides: Sequence[str]) -> dict[str, Any]:
    ranks = from_environment()
    if ranks is not None:
        return _run_among_peers(conf, config, directory, overrides, ranks)
    world = launch.wanted(conf.hardware)
    check_share(conf, world)
    begins = conf.force or not directory.finished  # a finished run needs no GPU, and no torch
    if world > 1 or (begins and needs_gpu(conf.hardware)):  # before the directory is made, and data are read
        from .build import count_gpus

        count_gpus(conf.hardware, Ranks(0, world, 0, world))
    directory.path.mkdir(parents=True, exist_ok=True)
    with files.sole_writer(directory.path), directory.unless_refused(), _replacing(conf, directory):
        if not _skip_finished(conf, config, directory, world):
            with logging_to(directory.log):
                _write_config(config, directory, overrides)
                if world == 1:
                    _train_here(conf, directory)
                else:
                    launch.launch(
                        launch.command_for("deeprelax.runs.rank", str(directory.path)), world, directory.log_of
                    )
                return _end(directory)
    return _result(directory)


def _train_here(conf: TrainConf, directory: RunDirectory) -> None:
    from .build import choose_device
    from .train import train  # imports torch

    train(conf, directory, choose_device(conf.hardware))


def _run_among_peers(
    conf: TrainConf, config: DictConfig, directory: RunDirectory, overrides: Sequence[str], ranks: Ranks
) -> dict[str, Any]:
    """`_run` for a process that has peers already: the main rank looks after the directory for all.

    Two broadcasts of the main rank hold the others: one before training, with what it found, and one after it, when
    result.json is written. A rank that raised on its own before the first would leave the others waiting in it, so
    what the main rank finds, mistakes included, is broadcast and then raised by all.
    """
    from .build import choose_device
    from .peers import joined_by_torchrun
    from .train import train

    check_share(conf, ranks.world)
    device = choose_device(conf.hardware, ranks)
    with joined_by_torchrun(conf, ranks, device), contextlib.ExitStack() as stack:
        finished: bool = False
        problem: UserError | None = None
        if ranks.main:
            try:
                directory.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(files.sole_writer(directory.path))
                stack.enter_context(directory.unless_refused())
                stack.enter_context(_replacing(conf, directory))
                finished = _skip_finished(conf, config, directory, ranks.world)
            except UserError as error:
                problem = error
            except OSError as error:
                problem = files.file_error(error, directory.path)
        finished, problem = ranks.from_main((finished, problem))
        if problem is not None:
            raise problem
        if not finished:
            if ranks.main:
                stack.enter_context(logging_to(directory.log))
                _write_config(config, directory, overrides)
            else:
                logging.getLogger("deeprelax").setLevel(logging.ERROR)  # the main rank warns for all
            train(conf, directory, device, ranks)
            if ranks.main:
                _end(directory)
        ranks.from_main(None)  # the result is there before anybody reads it
        return _result(directory)


def needs_gpu(conf: HardwareConf) -> bool:
    """Does it ask for what GPUs alone do?"""
    return conf.device == "cuda" or conf.sync_batchnorm or conf.cuda_graphs


def check_share(conf: TrainConf, world: int) -> None:
    """Raise UserError if the work cannot be shared by so many ranks in the way that is configured."""
    if hasattr(conf.optimizer, "replicas"):
        _check_replicas(conf, conf.optimizer.replicas, world)
    elif conf.batch_size % world and shared_by(conf, world) != "evaluations":
        raise UserError(
            f"batch_size={conf.batch_size} cannot be shared equally by {world} ranks: use a multiple of it, or a "
            "number of ranks that divides it"
        )
    if conf.optimizer.name == "lbfgs":
        _check_lbfgs(conf, world)
    if conf.hardware.share == "chains" and conf.optimizer.name in WITHOUT_CHAIN:
        raise UserError(
            f"hardware.share=chains needs an inner chain, and {conf.optimizer.name} has none: use hardware.share=data"
        )


def _check_replicas(conf: TrainConf, replicas: int, world: int) -> None:
    name, divisors = conf.optimizer.name, [str(n) for n in range(1, replicas + 1) if replicas % n == 0]
    if conf.hardware.share == "chains":
        raise UserError(
            f"hardware.share=chains: ranks divide the replicas of optimizer={name}; leave hardware.share out"
        )
    if replicas % world:
        raise UserError(
            f"optimizer.replicas={replicas} cannot be divided equally among {world} ranks: set hardware.devices to "
            f"{' or '.join(divisors)}, or optimizer.replicas to a multiple of {world}"
        )
    if world > 1 and conf.hardware.cuda_graphs:
        raise UserError(f"hardware.cuda_graphs=true with optimizer={name} works on one rank: leave it out")


def _check_lbfgs(conf: TrainConf, world: int) -> None:
    if world > 1:
        raise UserError(
            f"{world} ranks with optimizer=lbfgs, whose line search runs on one rank: set hardware.devices=1"
        )
    if conf.hardware.cuda_graphs:
        raise UserError(
            "hardware.cuda_graphs=true replays steps that are all alike, and those of optimizer=lbfgs are not: "
            "leave it out"
        )


def _skip_finished(conf: TrainConf, config: DictConfig, directory: RunDirectory, world: int) -> bool:
    continuation.check_same(conf, config, directory)
    if not directory.finished:
        continuation.start_from_finished(conf, config, directory)
        if not directory.has_checkpoint:
            continuation.initial_place(conf)  # raises before anything is written
        return False
    result = _result(directory)
    relabel(config, directory)
    if conf.hardware.share == "chains" and result["ranks"] != world:
        log.warning("hardware.share=chains: the result below is that of %d ranks", result["ranks"])
    log.info("finished before: %s", closing_line(result, directory))
    _show_told(result, directory)
    if not conf.force:
        log.info("(force=true starts it again)")
    return True


def _write_config(config: DictConfig, directory: RunDirectory, overrides: Sequence[str]) -> None:
    files.replace_text(directory.config, OmegaConf.to_yaml(with_labels(config, directory), resolve=True))
    files.replace_text(directory.overrides, OmegaConf.to_yaml(list(overrides)))
    log.info("run directory %s", directory.shown())


def _end(directory: RunDirectory) -> dict[str, Any]:
    result = _result(directory)
    if "test_class_errors" in result:
        log.info(class_line(result))
    log.info(closing_line(result, directory))
    _show_told(result, directory)
    return result


def _show_told(result: dict[str, Any], directory: RunDirectory) -> None:
    """What other weights than the last ones score, and what a task's report has for the reader."""
    name, metric = first(directory.score_metrics())
    for kind, where in (("average", ""), ("best", f" (pass {result.get('best_passes', 0):.4g})")):
        if (value := result.get(f"test_{name}_{kind}")) is not None:
            log.info("weights=%s: test %s %s%s", kind, name, metric.show(value), where)
    if "formula" in result:
        log.info("found %s", result["formula"])
    if "floor" in result:
        log.info("floor %.4f", result["floor"])
    if "sample" in result:
        log.info("sample: %s", result["sample"])
    for note in result.get("notes", []):
        log.warning(note)


def _result(directory: RunDirectory) -> dict[str, Any]:
    name, _ = first(directory.score_metrics())
    return files.read_json(directory.result, ("gradient_evaluations", "seconds", "ranks"), [f"test_{name}"])


def class_line(result: dict[str, Any]) -> str:
    """The mean of the errors by class, and the class with the largest."""
    there = {name: error for name, error in result["test_class_errors"].items() if error is not None}
    worst = max(there, key=lambda name: float(there[name]))
    return (
        f"error by class (confusion.png): mean {result['test_balanced_error']:.2f} %, "
        f"largest {there[worst]:.2f} % of class {worst}"
    )


def closing_line(result: dict[str, Any], directory: RunDirectory) -> str:
    """The first score on test data, evaluations, seconds and where the run lies."""
    name, metric = first(directory.score_metrics())
    return (
        f"test {name} {metric.show(result[f'test_{name}'])}  {result['gradient_evaluations']} gradient evaluations"
        f"{' (stopped early)' * bool(result.get('stopped_early'))}  {result['seconds']:.1f} s  {directory.shown()}"
    )


def _replacing(conf: TrainConf, directory: RunDirectory) -> AbstractContextManager[None]:
    """With `force` the run replaces an earlier one; started again by torchrun, it resumes instead.

    torchrun counts restarts after a failure, but not those for a machine that comes or goes. So the directory remembers
    the job's name, if it has one: "none" is what torchrun calls those without --rdzv-id.
    """
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    job = None if name == "none" else name
    if job is None:
        again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    else:
        again = directory.replaced_by == job and (directory.has_checkpoint or directory.finished)
        if conf.force and again:
            log.info("force=true: a restart, for --rdzv-id=%s has replaced the run before; another id restarts it", job)
    return directory.replacing(job) if conf.force and not again else directory.going_on()
