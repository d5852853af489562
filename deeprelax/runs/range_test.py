"""The learning-rate range test (arXiv 1506.01186): train while the rate rises from step to step, and note the loss."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import torch
from tqdm import tqdm

from ..configuration.schema import OptimizerConf, TrainConf
from ..errors import UserError
from ..optim import LBFGS
from ..optim.batchnorm import training_mode
from ..parallel.ranks import SOLO
from ..reporting.rates import has_diverged, window
from ..training.share import Share
from ..training.stepper import Stepper
from .build import build_model, build_optimizer, build_task, check_batch, choose_device, set_up_cpu
from .determinism import deterministic
from .failures import explained
from .initial import start_from
from .precision import single_precision
from .train import compose_objective

STEPS = (30, 100)  # outer steps at least, and gradient evaluations where that is more of them


@dataclass
class RangeTest:
    """The rate and the loss, the mean of f where gradients were taken, of each outer step whose loss is finite.

    steps: that there would be at most. diverged: the rate at which the test was ended; None if it reached the last one.
    seconds: of the steps alone.
    """

    steps: int
    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    diverged: float | None = None
    evaluations: int = 0
    seconds: float = 0.0


def rates_of(conf: OptimizerConf) -> list[str]:
    """The rates among an optimizer's keys, the one that is tested unless another is named first.

    That is the rate of the steps that follow gradients: of a chain `inner_lr`, since x only moves to what it averages.
    """
    if ":" in conf.name:
        return list(dict.fromkeys(["lr", *(key for key in conf.options if key.endswith("_lr"))]))
    return sorted((key for key in vars(conf) if key == "lr" or key.endswith("_lr")), key=lambda key: key == "lr")


def range_test(conf: TrainConf, key: str, first: float, last: float, steps: int | None) -> RangeTest:
    """Train from the initial weights while `key` rises from `first` to `last`, until the loss diverges.

    steps: outer steps, of which each multiplies the rate by the same factor; None: by the length of one, `STEPS`.
    Batches, augmentation and noise are those of the same steps of `deeprelax train`, of which nothing is read or
    written; on one rank, without a schedule, compiler and graphs. Parameter groups keep the ratios of their rates.
    Raises UserError as training does, and if the loss is not finite to begin with.
    """
    device = choose_device(conf.hardware)
    arithmetic = single_precision(conf.hardware.precision, device)
    with arithmetic, deterministic(conf.deterministic), explained(conf):
        set_up_cpu(conf.hardware)
        task = build_task(conf, device, Share(SOLO))
        model = build_model(conf.model, task, conf.seed, device, channels_last=conf.hardware.channels_last)
        check_batch(conf, model, task)
        start_from(conf, model, task.buffers)
        optimizer = build_optimizer(conf.optimizer, model, freezes=bool(conf.model.freeze))
        ratios = _ratios(optimizer, key, conf.optimizer)
        objective = compose_objective(conf, task, model, optimizer, Share(SOLO), torch.zeros(1, device=device))
        found = RangeTest(steps or max(STEPS[0], STEPS[1] // optimizer.evaluations))
        width, factor = window(found.steps), (last / first) ** (1 / (found.steps - 1))
        began = time.perf_counter()
        training_mode(model)
        for step in tqdm(range(found.steps), unit="step", leave=False, disable=None):
            rate = first * factor**step
            for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
                group[key] = rate * ratio
            loss = float(optimizer.step(objective))
            task.advance(model, objective.evaluations)
            if finite := math.isfinite(loss) and bool(optimizer.finite):
                found.rates.append(rate)
                found.losses.append(loss)
            if not finite or has_diverged(found.losses, width):
                found.diverged = rate
                break
        found.evaluations, found.seconds = objective.evaluations, time.perf_counter() - began
    if not found.losses:
        raise UserError(
            f"the loss is not finite in the first step, at {key}={first:g}: no rate is at fault, look at the data, "
            "the loss and the initial weights"
        )
    return found


def _ratios(optimizer: Stepper, key: str, conf: OptimizerConf) -> list[float]:
    """Of each parameter group, its rate over the optimizer's. Raises UserError if there is no such rate."""
    if isinstance(optimizer, LBFGS) or not isinstance(optimizer.defaults.get(key), int | float):
        raise UserError(f"optimizer={conf.name} has no rate {key}: --key names another one")
    rates = [float(group[key]) for group in optimizer.param_groups]
    base = float(optimizer.defaults[key]) or max(rates)
    return [rate / base if base else 1.0 for rate in rates]
