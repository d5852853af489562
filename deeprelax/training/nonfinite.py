"""What to say of a step whose loss or direction is not finite."""

from __future__ import annotations

from ..optim import Relaxation
from ..schema import OptimizerConf

LIKELY = ("lr", "inner_lr", "gamma", "sigma", "temperature")  # the keys that may be behind it


def nonfinite_sentence(step: int, passes: float, optimizer: Relaxation, conf: OptimizerConf, *, saved: bool) -> str:
    """The step, the hyper-parameters in force, what is kept (`saved`: there is a checkpoint), and what to lower."""
    in_force = {**optimizer.scalars(), "direction_norm": float(optimizer.direction_norm())}
    values = ", ".join(f"{name} {value:.3g}" for name, value in in_force.items())
    keys = " or ".join(f"optimizer.{key}" for key in LIKELY if hasattr(conf, key)) or "the step size"
    latest = step == optimizer.param_groups[0]["outer_steps"] - 1  # not so on a GPU, which is asked at records
    weights = "The weights are as before it" if latest else "It changed no weight, the steps since then did"
    kept = "and the last checkpoint is kept" if saved else "and there was no checkpoint yet"
    return (
        f"outer step {step} (pass {passes:.3g}): the loss or its direction is not finite ({values}). "
        f"{weights}, {kept}; lower {keys}"
    )
