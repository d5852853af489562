"""A run and its directory: started, gone on with, or found finished."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from .. import files
from ..configuration.schema import TrainConf
from ..errors import UserError
from ..parallel import launch
from ..parallel.ranks import Ranks, from_environment, join, leave
from . import continuation
from .log import logging_to

log = logging.getLogger(__name__)
RUN_FILES = (
    "result.json",
    "checkpoint.pt",
    "checkpoint.previous.pt",
    "checkpoint.damaged.pt",
    "checkpoint.pt.new",
    "metrics.jsonl",
    "config.yaml",
    "provenance.json",
    "train.log",
    "tensorboard",
)
REPLACED = ".replaced"  # in a run's directory: what `force` moved aside


def run(conf: TrainConf, config: DictConfig, directory: Path) -> dict[str, Any]:
    """Train as `conf` says, in `directory`; `config` is the same, for the record. Returns result.json's content.

    A finished run is left alone, an unfinished one gone on with, unless `conf.force`. One rank trains in this process,
    several in processes of their own, unless torchrun has started this one. Raises UserError if the directory holds a
    run of another configuration, another process writes it, the work cannot be shared so, or a file gives trouble.
    """
    try:
        return _run(conf, config, directory)
    except OSError as error:
        raise files.sentence(error, directory) from None


def _run(conf: TrainConf, config: DictConfig, directory: Path) -> dict[str, Any]:
    ranks = from_environment()
    if ranks is not None:
        return _run_among_peers(conf, config, directory, ranks)
    world = launch.wanted(conf.hardware)
    check_share(conf, world)
    if world > 1:
        from .build import choose_device

        choose_device(conf.hardware, Ranks(0, world, 0, world))
    directory.mkdir(parents=True, exist_ok=True)
    with files.sole_writer(directory), _replacing(conf, directory):
        if not _finished_before(conf, config, directory):
            with logging_to(directory / "train.log"):
                _begin(config, directory)
                if world == 1:
                    _train_here(conf, directory)
                else:
                    launch.launch(launch.command_for("deeprelax.runs.rank", str(directory)), world)
                return _end(directory)
    return _result(directory)


def _train_here(conf: TrainConf, directory: Path) -> None:
    from .build import choose_device
    from .train import train  # imports torch

    train(conf, directory, choose_device(conf.hardware))


def _run_among_peers(conf: TrainConf, config: DictConfig, directory: Path, ranks: Ranks) -> dict[str, Any]:
    """The main rank looks after the directory; what it finds holds for all."""
    from .build import choose_device
    from .train import train

    check_share(conf, ranks.world)
    device = choose_device(conf.hardware, ranks)
    join(ranks, device)
    with contextlib.ExitStack() as stack:
        stack.callback(leave)
        verdict: tuple[bool, str] = (False, "")
        if ranks.main:
            try:
                directory.mkdir(parents=True, exist_ok=True)
                stack.enter_context(files.sole_writer(directory))
                stack.enter_context(_replacing(conf, directory))
                verdict = (_finished_before(conf, config, directory), "")
            except UserError as error:
                verdict = (False, str(error))
            except OSError as error:
                verdict = (False, str(files.sentence(error, directory)))
        finished, problem = ranks.from_main(verdict)
        if problem:
            raise UserError(problem)
        if not finished:
            if ranks.main:
                stack.enter_context(logging_to(directory / "train.log"))
                _begin(config, directory)
            else:
                logging.getLogger("deeprelax").setLevel(logging.WARNING)
            train(conf, directory, device, ranks)
            if ranks.main:
                _end(directory)
        ranks.from_main(None)  # the result is there before anybody reads it
        return _result(directory)


def check_share(conf: TrainConf, world: int) -> None:
    """Raise UserError if the work cannot be shared by so many ranks in the way that is configured."""
    if conf.batch_size % world:
        raise UserError(f"batch_size={conf.batch_size} cannot be shared equally by {world} ranks: use a multiple of it")
    if conf.hardware.share == "chains" and conf.optimizer.name == "sgd":
        raise UserError("hardware.share=chains needs an inner chain, and sgd has none: use hardware.share=data")


def _finished_before(conf: TrainConf, config: DictConfig, directory: Path) -> bool:
    continuation.check_same(directory, config)
    if not (directory / "result.json").exists():
        continuation.begin_from_finished(conf, config, directory)
        return False
    if conf.hardware.share == "chains" and _result(directory)["ranks"] != launch.wanted(conf.hardware):
        log.warning("hardware.share=chains: the result below is that of %d ranks", _result(directory)["ranks"])

    log.info("finished before: %s", closing_line(_result(directory), directory))
    log.info("(force=true starts it again)")
    return True


def _begin(config: DictConfig, directory: Path) -> None:
    files.replace_text(directory / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    log.info("run directory %s", _shown(directory))


def _end(directory: Path) -> dict[str, Any]:
    result = _result(directory)
    log.info(closing_line(result, directory))
    return result


def _result(directory: Path) -> dict[str, Any]:
    return files.read_json(directory / "result.json", ("test_error", "gradient_evaluations", "seconds", "ranks"))


def closing_line(result: dict[str, Any], directory: Path) -> str:
    """Test error, evaluations, seconds and where the run lies."""
    return (
        f"test error {result['test_error']:.2f} %  {result['gradient_evaluations']} gradient evaluations  "
        f"{result['seconds']:.1f} s  {_shown(directory)}"
    )


def _shown(directory: Path) -> str:
    here = Path.cwd()
    return str(directory.relative_to(here) if directory.is_relative_to(here) else directory)


@contextlib.contextmanager
def _replacing(conf: TrainConf, directory: Path) -> Iterator[None]:
    """With `force`: what an earlier run wrote is aside, and back if the new one ends before its first checkpoint.

    Whatever else lies in the directory stays. A restart by torchrun goes on instead.
    """
    aside = directory / REPLACED
    if not conf.force or os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
        yield
        return
    if aside.exists() and not continuation.has_begun(directory):
        _clear(directory)  # of a new run that was killed before its checkpoint: the one before it is still aside
    else:
        shutil.rmtree(aside, ignore_errors=True)
        _move(directory, aside)
    try:
        yield
    finally:
        if not continuation.has_begun(directory):
            _move(aside, directory)
        shutil.rmtree(aside, ignore_errors=True)


def _move(source: Path, target: Path) -> None:
    """What a run has written, if anything, in the place of what is there."""
    found = [name for name in RUN_FILES if (source / name).exists()]
    if not found:
        return
    target.mkdir(exist_ok=True)
    _clear(target)
    for name in found:
        (source / name).rename(target / name)


def _clear(directory: Path) -> None:
    for name in RUN_FILES:
        if (directory / name).is_dir():
            shutil.rmtree(directory / name)
        else:
            (directory / name).unlink(missing_ok=True)
