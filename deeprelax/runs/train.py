"""One run from its configuration to its result."""

from __future__ import annotations

import logging
import platform
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .. import files
from ..configuration.schema import TrainConf
from ..errors import UserError
from ..parallel.ranks import SOLO, Ranks
from ..parallel.signals import Stopped
from ..records import checkpoint
from ..training.batchnorm import has_batch_norm
from ..training.loop import Trainer
from ..training.schedules import make_schedule
from ..training.share import compile_problem
from .build import build_model, build_optimizer, load_data, set_up_cpu
from .determinism import deterministic

log = logging.getLogger(__name__)
LIBRARIES = ("deeprelax", "torch", "torchvision", "numpy", "hydra-core", "omegaconf", "scikit-learn")


def train(conf: TrainConf, directory: Path, device: torch.device, ranks: Ranks = SOLO) -> None:
    """Train in `directory`, from its checkpoint if there is one; the main rank writes result.json."""
    with deterministic(conf.deterministic):
        try:
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


def is_out_of_memory(error: Exception) -> bool:
    """On a GPU torch has a class for it, on a CPU words."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _train(conf: TrainConf, directory: Path, device: torch.device, ranks: Ranks) -> None:
    state = checkpoint.latest(directory, set_aside=ranks.main)
    set_up_cpu(conf.hardware, state["threads"] if state else None, ranks)
    data = load_data(conf.dataset, conf.data_dir, device)
    model = build_model(conf.model, data, conf.seed, device)
    if conf.batch_size // ranks.world == 1 and has_batch_norm(model):
        raise UserError(f"batch_size={conf.batch_size} leaves one image to a rank, and batch norm needs two: raise it")
    optimizer = build_optimizer(conf.optimizer, model)
    trainer = Trainer(conf, data, model, optimizer, directory, ranks)
    _announce(trainer)
    if state is not None:
        trainer.load_state(state)
    reached = (trainer.evaluations, trainer.outer_steps)
    if ranks.from_main(reached) != reached:
        raise UserError(
            f"{directory / checkpoint.NAME} is not the same file on all machines: put output_dir on a shared disk"
        )
    if state is not None:
        log.info("going on from pass %.4g%s", trainer.budget.passes(trainer.evaluations), _lengthened(conf, state))
        if state["threads"] != torch.get_num_threads():
            now, before = torch.get_num_threads(), state["threads"]
            log.warning("%d threads, not %d as before: no longer bit for bit the same run", now, before)
        if state["ranks"] != ranks.world:
            log.warning("%d ranks, not %d as before: no longer bit for bit the same run", ranks.world, state["ranks"])
    if ranks.main:
        files.write_json(directory / "provenance.json", _provenance(device, ranks))
    trainer.fit()
    if ranks.main:
        files.write_json(directory / "result.json", _result(trainer))
    if asked := _asked_too_late(trainer):
        raise Stopped(asked)


def _asked_too_late(trainer: Trainer) -> int:
    """The signal that some rank got when nothing was left to stop: there may be more jobs. 0 for none."""
    asked = torch.tensor(float(trainer.asked is not None), device=trainer.data.train.device)
    trainer.ranks.sum_(asked)
    return (trainer.asked or signal.SIGTERM) if asked > 0 else 0


def _lengthened(conf: TrainConf, state: dict[str, Any]) -> str:
    """What it means for the schedule that the checkpoint is of a shorter run; "" if it is not."""
    before = state["configuration"]["epochs"]
    if before == conf.epochs:
        return ""
    if conf.schedule.name != "cosine":
        return f" of a run of {before:g}, as one run of {conf.epochs:g} would"
    ended, now = (make_schedule(conf.schedule, epochs)(before) for epochs in (before, conf.epochs))
    return (
        f" of a run of {before:g}: schedule=cosine depends on the total, so the lr goes on at {now:.3g} times its "
        f"initial value, where that run had come down to {ended:.3g}; not the same as one run of {conf.epochs:g}"
    )


def _announce(trainer: Trainer) -> None:
    conf, budget = trainer.conf, trainer.budget
    taken = budget.outer_steps * budget.per_step
    log.info(
        "%s on %s with %s: %g passes over %d images = %d gradient evaluations of %d images, %d outer steps",
        conf.model.name, conf.dataset.name, conf.optimizer.name,
        budget.epochs, budget.images, budget.evaluations, budget.batch_size, budget.outer_steps,
    )  # fmt: skip
    if problem := _schedule_problem(conf):
        log.warning(problem)
    if abs(taken / budget.evaluations - 1) > 0.02:
        log.warning(
            "whole outer steps of %d come to %d evaluations, not %d", budget.per_step, taken, budget.evaluations
        )


def _schedule_problem(conf: TrainConf) -> str:
    """A step schedule whose steps all lie behind the end; "" if there is none."""
    late = conf.schedule.name == "step" and conf.schedule.milestones
    if late and min(conf.schedule.milestones) >= conf.epochs:
        first = min(conf.schedule.milestones)
        return f"schedule.milestones begin at {first:g}, beyond epochs={conf.epochs:g}: the lr never changes"
    return ""


def _result(trainer: Trainer) -> dict[str, Any]:
    conf, budget = trainer.conf, trainer.budget
    images = trainer.evaluations * budget.batch_size
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
        "skipped_steps": trainer.skipped,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "training_images": budget.images,
        **{f"{split}_{name}": value for split, scores in trainer.scores.items() for name, value in scores.items()},
        "seconds": trainer.seconds,
        "images_per_second": images / trainer.step_seconds,
        "device": _device_name(trainer.data.train.device),
        "precision": conf.hardware.precision,
        "threads": torch.get_num_threads(),
        "ranks": trainer.ranks.world,
        "share": conf.hardware.share,
    }


def _device_name(device: torch.device) -> str:
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def _provenance(device: torch.device, ranks: Ranks) -> dict[str, Any]:
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": _device_name(device),
        "threads": torch.get_num_threads(),
        "ranks": ranks.world,
        "cuda": torch.version.cuda,
        "commit": _commit(),
        "versions": {name: version(name) for name in LIBRARIES},
    }


def _commit() -> str | None:
    """The commit of the checkout that this package runs from, with + if files were changed since; None if installed."""
    package = Path(__file__).parents[1]
    words = ["git", "-C", str(package), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    tracked = [*words[:3], "ls-files", "--error-unmatch", "cli.py"]
    try:
        subprocess.run(tracked, capture_output=True, check=True)
        return subprocess.run(words, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
