"""What is not finite, and what to say of it."""

from __future__ import annotations

import torch
from torch import nn

from ..configuration.schema import OptimizerConf
from ..optim import Relaxation

LIKELY = ("lr", "inner_lr", "gamma", "sigma", "temperature")  # the keys that may be behind it


@torch.no_grad()
def has_finite_values(model: nn.Module) -> bool:
    """Are all weights and batch-norm statistics finite? Waits for the device."""
    tensors = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
    return not tensors or bool(torch.stack([torch.isfinite(t).all() for t in tensors]).all())


def step_sentence(step: int, passes: float, optimizer: Relaxation, conf: OptimizerConf, *, saved: bool) -> str:
    """Of a step: what is in force, what is kept (`saved`: there is a checkpoint), and what to lower."""
    latest = step == optimizer.param_groups[0]["outer_steps"] - 1  # not so on a GPU, which is asked at records
    weights = "The weights are as before it" if latest else "It changed no weight, the steps since then did"
    return (
        f"outer step {step} (pass {passes:.3g}): the loss or its direction is not finite ({_in_force(optimizer)}). "
        f"{weights}, {_kept(saved)}; lower {_keys(conf)}"
    )


def state_sentence(what: str, passes: float, optimizer: Relaxation, conf: OptimizerConf, *, saved: bool) -> str:
    """Of weights or of numbers computed at them."""
    step = optimizer.param_groups[0]["outer_steps"]
    return (
        f"after outer step {step} (pass {passes:.3g}) {what} not finite ({_in_force(optimizer)}). "
        f"Nothing of it is written, {_kept(saved)}; lower {_keys(conf)}"
    )


def _in_force(optimizer: Relaxation) -> str:
    values = {**optimizer.scalars(), "direction_norm": float(optimizer.direction_norm())}
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())


def _kept(saved: bool) -> str:
    return "and the last checkpoint is kept" if saved else "and there was no checkpoint yet"


def _keys(conf: OptimizerConf) -> str:
    return " or ".join(f"optimizer.{key}" for key in LIKELY if hasattr(conf, key)) or "the step size"
