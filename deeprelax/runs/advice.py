"""What may be behind a loss or weights that are not finite, by the optimizer and its values, and what to change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Set
from typing import Any

from ..configuration.schema import TrainConf
from ..optim import LBFGS, SGD, AdamW
from ..optim.hyperparameters import grown_coupling, stiffness
from ..tasks.task import Task
from ..training.stepper import Stepper

TAKEN_FOR = 32  # pixels of the pictures that the default rates were chosen on, at most
SMALL = 16  # examples: smaller batches make gradients that differ much
NOTICEABLE = 0.01  # of a weight's displacement by noise
USUAL = 0.1  # a rate: what is only too large for a larger one is that rate's fault
Change = tuple[str, str]  # "lower", "raise" or "set", and the key with its value


def advice(conf: TrainConf, optimizer: Stepper, task: Task, step: int) -> str:
    """The end of the sentence for outer step `step`: what to change, the likeliest first.

    A value that cannot be the cause, as a temperature of 1e-8, is not named.
    """
    if step == 0 and isinstance(optimizer, SGD | AdamW):  # whose first gradient is at the weights that it was given
        given = _first_weights(conf)
        return (
            f"it was so at the first gradient, before any step: look at the data, the loss and {given}, not at a rate"
        )
    changes: dict[str, list[str]] = {}
    for verb, key in (*_of_optimizer(conf, optimizer), *_of_the_rest(conf, task)):
        changes.setdefault(verb, []).append(key)
    said = [f"{verb} {' or '.join(keys)}" for verb, keys in changes.items()]
    more = "" if isinstance(optimizer, LBFGS) else "; deeprelax find-lr with the same keys measures what rate it bears"
    return (", or ".join(said) or "make its steps smaller") + more


def _of_optimizer(conf: TrainConf, optimizer: Stepper) -> Iterator[Change]:
    options = conf.optimizer.options
    # rates as they were given, for a schedule or a group of parameters has changed those of param_groups
    group = {**optimizer.param_groups[0], **{k: v for k, v in optimizer.defaults.items() if k != "outer_steps"}}
    given = vars(conf.optimizer) if ":" not in conf.optimizer.name else options
    prefix = "optimizer." if given is not options else "optimizer.options."
    own = {name for name in given if name in group}
    for verb, name, remark in (*_rates(own, group), *_others(own, group)):
        yield verb, f"{prefix}{name}={group[name]:.3g}{remark}"
    for each in conf.optimizer.groups:
        for name in ("inner_lr", "lr"):
            if each.get(name, 0) > group.get(name, math.inf):
                yield "lower", f"{name}={each[name]:.3g} of the group {each['match']} in optimizer.groups"


def _first_weights(conf: TrainConf) -> str:
    if conf.continue_from is not None:
        return "the weights of the run that it continues"
    key = "init_from" if conf.init_from is not None else "model.weights" if getattr(conf.model, "weights", None) else ""
    return f"the weights of {key}" if key else "the initial weights"


def _rates(own: Set[str], group: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What steps along gradients, as (verb, key, remark)."""
    chain = "inner_lr" in own
    if chain:
        yield "lower", "inner_lr", _with_momentum(group, "inner")
    if "lr" in own and _lr_can(group, jumps=chain):
        velocity = "nesterov" in own or "momentum" not in own  # Schedule-Free's momentum is a share of its mean
        yield "lower", "lr", _with_momentum(group, "outer") if velocity else ""
    if "gamma" not in own:
        return
    if not chain and group.get("equation") != "heat" and group["gamma"] > group["lr"] / 10:
        yield "lower", "gamma", ""  # an extrapolation about as long as a step
    if chain and (spring := _usual(group, "inner_lr") * stiffness(group)) > 0.5:
        scoped = f"and optimizer.scoping={group['scoping']:g} " * bool(group.get("scoping"))
        yield "raise", "gamma", f" ({scoped}let a step of the chain go {spring:.3g} of the way back to x)"


def _others(own: Set[str], group: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Noise, decay, and what a rule of AdamW divides by."""
    if "sigma" in own and group["sigma"] >= 0.1:
        yield "lower", "sigma", ""
    if "rho" in own and group["rho"] > 1:
        yield "lower", "rho", ""
    if "temperature" in own and _noise(group) >= NOTICEABLE:
        yield "lower", "temperature", ""
    for decay in ("weight_decay", "decoupled_weight_decay"):
        if decay in own and group[decay] * _usual(group, "inner_lr" if "inner_lr" in own else "lr") > 0.1:
            yield "lower", decay, ""
    if "rho" in own and group["lr"] / group["rho"] > 1:
        yield "raise", "rho", ""
    if "coupling" in own and (pull := 2 * group["lr"] * grown_coupling(group)) > 1:
        yield "lower", "coupling", f" (with its scoping a step now goes {pull:.3g} of the way to the mean)"
    for eps in ("eps", "inner_eps"):
        if eps in own and group[eps] == 0:
            yield "raise", eps, ""


def _lr_can(group: Mapping[str, Any], *, jumps: bool) -> bool:
    """Not where a step ends inside of what a chain has seen: d = x - mu, and at lr 1 without momentum x becomes mu."""
    return not jumps or group.get("outer") == "adamw" or group["lr"] > 1 or group.get("momentum", 0) > 0


def _with_momentum(group: Mapping[str, Any], rule: str) -> str:
    before = "inner_" if rule == "inner" else ""
    momentum, rate = group.get(f"{before}momentum", 0), group[f"{before}lr"]
    if group.get(rule) == "adamw" or not momentum:
        return ""
    return f" (with its momentum of {momentum:g} a rate of {rate / (1 - momentum):.3g})"


def _noise(group: Mapping[str, Any]) -> float:
    """How far noise alone moves a weight in an outer step: of Langevin's steps, or of the heat equation's Gaussian."""
    steps = group.get("inner_steps", 1)
    rate = group["gamma"] / 2 if "gamma" in group else _usual(group, "lr")
    rate = _usual(group, "inner_lr") if "inner_lr" in group else rate
    return math.sqrt(2 * rate * group.get("temperature", 0) * steps)


def _usual(group: Mapping[str, Any], rate: str) -> float:
    return min(float(group[rate]), USUAL)


def _of_the_rest(conf: TrainConf, task: Task) -> Iterator[Change]:
    size = task.shape.get("image_size", 0)
    if size > TAKEN_FOR:
        yield "lower", f"dataset.image_size={size} (the default rates were chosen on pictures of {TAKEN_FOR} at most)"
    if conf.batch_size < min(SMALL, task.examples):
        yield "raise", f"batch_size={conf.batch_size}"
    if conf.hardware.precision == "bfloat16":
        yield "set", "hardware.precision=float32"
