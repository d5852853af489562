"""Fit a composed configuration to the rules of its optimizer: presets of other rules, and what null stands for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from ..optim import CHOICES
from ..optim.hyperparameters import resolved
from .schema import configuration_folder

PRESET = "preset@_global_"
NOT_APPLIED = "not applied: "  # before the name of a preset of other rules, among Hydra's choices
CAME_WITH_ADAMW = (
    "outer", "betas", "eps", "decoupled_weight_decay", "inner", "inner_betas", "inner_eps", "inner_state",
)  # fmt: skip
OF_RULES = ("optimizer.outer=", "optimizer.inner=")
Compose = Callable[[list[str]], DictConfig]


def fitted(compose: Compose, overrides: list[str]) -> DictConfig:
    """What `compose` makes of the overrides, without a preset that is of other rules, and with the rules' own defaults.

    A preset's values were chosen for one pair of rules (`outer`, `inner`): the pair that there would be without the
    overrides that change it.
    """
    config = compose(overrides)
    others = [each for each in overrides if not each.lstrip("+").startswith(OF_RULES)]
    if others != overrides and rules(config) != rules(compose(others)):
        config = _without_preset(config, compose([*overrides, f"~{PRESET}"]))
    optimizer = config.get("optimizer")
    if isinstance(optimizer, DictConfig) and optimizer.get("name") in CHOICES:
        given = {str(key): optimizer._get_node(key) for key in optimizer}
        unset = {key: None for key, node in given.items() if node is not None and node._is_none()}
        rule = {key: optimizer[key] for key in ("outer", "inner") if key in optimizer}
        with open_dict(config):
            optimizer.update({k: v for k, v in resolved(optimizer.name, rule | unset).items() if v is not None})
    return config


@functools.cache
def rules_before(choice: str) -> dict[str, Any]:
    """What an optimizer did before its choice had these keys: what their defaults say, and those that it has."""
    if choice not in CHOICES or choice == "adamw":
        return {}
    values = OmegaConf.to_container(OmegaConf.load(configuration_folder() / "optimizer" / f"{choice}.yaml"))
    assert isinstance(values, dict)
    return resolved(choice, {key: value for key, value in values.items() if key in CAME_WITH_ADAMW})


def rules(config: DictConfig) -> tuple[Any, Any]:
    """The outer and the inner rule; momentum where there is no choice."""
    return (config.optimizer.get("outer", "momentum"), config.optimizer.get("inner", "momentum"))


def _without_preset(config: DictConfig, without: DictConfig) -> DictConfig:
    """The second, under the name of the first, if the preset makes a difference; else the first."""
    if _plain(config) == _plain(without):
        return config
    with open_dict(without):
        without.hydra.overrides, without.hydra.job = config.hydra.overrides, config.hydra.job  # a run's name is of them
        without.hydra.runtime.choices[PRESET] = NOT_APPLIED + config.hydra.runtime.choices[PRESET]
    return without


def _plain(config: DictConfig) -> Any:
    return OmegaConf.to_container(OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]))


def not_applied(config: DictConfig, choices: Mapping[str, Any]) -> str | None:
    """The line of the log for a preset of other rules; None if there is none."""
    found = str(choices.get(PRESET))
    if not found.startswith(NOT_APPLIED):
        return None
    outer, inner = rules(config)
    return (
        f"preset {found.removeprefix(NOT_APPLIED)} was chosen for other rules than outer={outer}, inner={inner}: "
        "not applied, the defaults of these hold"
    )
