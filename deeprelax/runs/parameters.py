"""Which parameters are trained, and by which rates: `model.freeze` and `optimizer.groups`, by patterns of names."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn
from torch.optim import Optimizer

from ..configuration.schema import OptimizerConf, TrainConf
from ..errors import UserError
from ..training.schedules import moved
from ..training.stepper import Stepper

DECAYS = ("weight_decay", "decoupled_weight_decay")
log = logging.getLogger(__name__)


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Set requires_grad to False for the parameters whose names a pattern matches.

    Raises UserError for a pattern that matches none, and if all would be frozen.
    """
    names = [name for name, _ in model.named_parameters()]
    frozen: set[str] = set()
    for pattern in patterns:
        frozen |= set(_matched(pattern, names, "model.freeze"))
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    if patterns and not any(p.requires_grad for p in model.parameters()):
        raise UserError(
            f"model.freeze={list(patterns)} freezes all parameters, and none is left to train: leave out the head's"
        )


def parameter_groups(model: nn.Module, groups: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trained parameters as groups of an optimizer: those that no pattern matches first, then as `groups` are.

    Of several patterns the first that matches a parameter has it. Raises UserError for a pattern that is left with
    none.
    """
    left = [name for name, p in model.named_parameters() if p.requires_grad]
    found = []
    for group in groups:
        mine = _matched(group["match"], left, "optimizer.groups", [name for name, _ in model.named_parameters()])
        left = [name for name in left if name not in set(mine)]
        values = {key: value for key, value in group.items() if key != "match"}
        found.append({"params": [model.get_parameter(name) for name in mine], **values})
    rest = [{"params": [model.get_parameter(name) for name in left]}] if left else []
    return rest + found


def norms_and_biases_apart(groups: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each group in two, the second of its parameters of at most one dimension, where it has both kinds."""
    kinds = (
        {**group, "params": [p for p in group["params"] if (p.ndim <= 1) == flat]}
        for group in groups
        for flat in (False, True)
    )
    return [group for group in kinds if group["params"]]


def forget_decay(optimizer: Optimizer) -> None:
    """Set the weight decay of the groups of parameters of at most one dimension to 0, whatever kind they have."""
    for group in optimizer.param_groups:
        if all(p.ndim <= 1 for p in group["params"]):
            group.update({key: 0.0 for key in DECAYS if key in group})


def check_rates(conf: TrainConf, optimizer: Stepper) -> None:
    """Raise UserError if the optimizer, of the user's own, lacks a rate that the schedule is to move."""
    for rate in moved(conf.schedule.of):
        if rate not in optimizer.defaults:
            raise UserError(f"schedule.of={conf.schedule.of}: {conf.optimizer.name} has no {rate}: leave it out")


def grouped_by(conf: OptimizerConf) -> bool:
    """Are parameters told apart by the optimizer's keys?"""
    return bool(conf.groups) or not conf.decay_norms_and_biases


def described(model: nn.Module, conf: OptimizerConf) -> dict[str, Any]:
    """For provenance.json: how many numbers are frozen, each group with how many it has, and how many do not decay."""
    groups = conf.groups
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    sizes = [sum(p.numel() for p in group["params"]) for group in parameter_groups(model, groups)]
    rest: list[dict[str, Any]] = [{"match": "(all others)"}] * (len(sizes) - len(groups))
    named = [{**group, "parameters": size} for group, size in zip([*rest, *groups], sizes, strict=True)]
    found = {"frozen_parameters": frozen, "parameter_groups": named}
    if not conf.decay_norms_and_biases:
        trained = [p for p in model.parameters() if p.requires_grad]
        found["parameters_without_decay"] = sum(p.numel() for p in trained if p.ndim <= 1)
    return found


def log_groups(grouped: Mapping[str, Any], conf: OptimizerConf) -> None:
    """A line for what is frozen and one for each group, by what `described` returned."""
    if not grouped:
        return
    if grouped["frozen_parameters"]:
        log.info("%d parameters are frozen", grouped["frozen_parameters"])
    if "parameters_without_decay" in grouped:
        log.info("%d parameters of norm layers and biases: no weight decay", grouped["parameters_without_decay"])
    for group in grouped["parameter_groups"] if conf.groups else ():
        own = ", ".join(f"{key}={value:g}" for key, value in group.items() if key not in ("match", "parameters"))
        log.info("%d parameters of %s: %s", group["parameters"], group["match"], own or f"the keys of {conf.name}")


def _matched(pattern: str, names: list[str], key: str, whole: list[str] | None = None) -> list[str]:
    found = [name for name in names if fnmatchcase(name, pattern)]
    if found:
        return found
    if any(fnmatchcase(name, pattern) for name in whole or ()):
        raise UserError(f"{key}: {pattern} matches only parameters that are frozen, or of a group before: leave it out")
    modules = {".".join(name.split(".")[:n]) for name in whole or names for n in range(1, name.count(".") + 1)}
    near = difflib.get_close_matches(pattern, [*(whole or names), *(f"{module}.*" for module in sorted(modules))], n=3)
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    first = list(dict.fromkeys(name.partition(".")[0] for name in whole or names))
    raise UserError(
        f"{key}: {pattern} matches no parameter of the network{hint}: names begin with {', '.join(first[:20])}"
    )
