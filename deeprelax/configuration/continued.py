"""Take from a finished run's configuration what a command with `continue_from` leaves out.

A choice that is given (optimizer=NAME) is the whole group, a key that is given (optimizer.lr=1e-3) that key; the rest
is as that run had it. `recipe=NAME` stands for the optimizer's group, with its values in that recipe.
`experiment=NAME`, `+sweep=NAME` and groups of the user's own stand for a whole configuration: with one of them nothing
is taken, and the command must say all that the other run's did.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from ..errors import UserError
from ..files import flat
from ..optim.hyperparameters import OF_ADAMW
from ..records.directory import named
from . import rules
from .check import load
from .rules import Compose
from .run_name import key_of, value_of
from .schema import SCHEMAS, TrainConf

OWN = ("output_dir", "force", "continue_from", "init_from", "name", "tags")  # never the other run's
FIRST_WORDS = {*TrainConf.__dataclass_fields__, "recipe", "hydra"}  # of overrides beside which the rest can be taken


def composed(compose: Compose, overrides: list[str], *, sweeps: bool = False) -> DictConfig:
    """What `compose` makes of the overrides, fitted to the optimizer's rules, and of the run that they continue.

    sweeps: of a sweep as a whole, whose jobs are composed one by one and may continue different runs. Raises UserError
    if the overrides make no sense without the other run, and there is none.
    """
    keys = [key_of(each) for each in overrides]
    if "continue_from" not in keys or any(_first_word(key) not in FIRST_WORDS for key in keys):
        return rules.fitted(compose, overrides)
    # Keys of a choice may be those of the other run's choice, which is not known yet: only groups and plain keys
    choices = compose(shallow(overrides))
    if sweeps:
        return under(choices, of_task(overrides))
    try:
        theirs = _configuration(choices)
    except UserError as problem:
        try:
            return rules.fitted(compose, overrides)  # the job says what is wrong, and the others of a sweep run
        except (HydraException, OmegaConfBaseException):
            raise problem from None
    return rules.fitted(compose, overrides) if theirs is None else _merged(compose, overrides, set(keys), theirs)


def shallow(overrides: list[str]) -> list[str]:
    """Without the keys of groups."""
    return [each for each in overrides if "." not in key_of(each) or _first_word(key_of(each)) == "hydra"]


def of_task(overrides: list[str]) -> list[str]:
    """Without Hydra's own."""
    return [each for each in overrides if _first_word(key_of(each)) != "hydra"]


def _first_word(key: str) -> str:
    return key.replace("/", ".").partition(".")[0]


def _configuration(choices: DictConfig) -> dict[str, Any] | None:
    """What the run has that `continue_from` names; None if it names none. Raises UserError if there is no such run."""
    given = value_of(choices, "continue_from")
    if not given or not str(given).strip():
        return None
    return asdict(load(named("continue_from", str(given), choices.seed).config))


def _merged(compose: Compose, overrides: list[str], given: set[str], theirs: dict[str, Any]) -> DictConfig:
    choices = [f"{group}={_choice(theirs[group]['name'])}" for group in SCHEMAS if group not in given]
    config = rules.fitted(lambda more: compose([*choices, *more]), overrides)
    if {"optimizer.outer", "optimizer.inner"} & given:  # their rates are of the rules that they had
        given = given | {f"optimizer.{key}" for key in OF_ADAMW}
    if "recipe" in given:
        given = {*given, "optimizer"}
    for key, value in flat(theirs).items():
        if key not in OWN and not any(key == each or key.startswith(f"{each}.") for each in given):
            OmegaConf.update(config, key, value, force_add=True)
    return under(config, list(config.hydra.overrides.task)[len(choices) :])


def _choice(name: str) -> str:
    return "custom" if ":" in name else name


def under(config: DictConfig, overrides: list[str]) -> DictConfig:
    """The configuration under the overrides that were given, of which names of runs and jobs of sweeps are made."""
    with open_dict(config):
        config.hydra.overrides.task = overrides
    return config
