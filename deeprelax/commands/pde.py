"""Run `deeprelax pde COMMAND`: solve the equations; write figures, arrays and claims. A Hydra application."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ..configuration import hydra_app
from ..configuration.check import validated
from ..errors import UserError, did_you_mean
from ..pde import experiments
from ..pde.experiments import COMMANDS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..pde.experiments.hamiltonian import Hamiltonian
    from ..pde.experiments.hamiltonian_depth import Trained

USAGE = "\n".join(
    [
        "Solve the equations behind the optimizers; figures and arrays go to outputs/pde/COMMAND/.",
        "",
        "Usage: deeprelax pde COMMAND [KEY=VALUE ...]",
        "",
        *(f"  {name:<11} {summary}" for name, summary in COMMANDS.items()),
        "",
        "deeprelax pde COMMAND --help shows the keys. For example: deeprelax pde smooth problem=double_well time=0.1,1",
    ]
)


def main(arguments: list[str]) -> None:
    """Compose the configuration of an experiment and run `job`. Raises UserError."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE)
        return
    command, *rest = arguments
    logging.getLogger("matplotlib.font_manager").setLevel(
        logging.ERROR
    )  # it logs that it builds a cache, at the first run
    if command not in COMMANDS:
        raise UserError(
            f"pde {command} is not a command{did_you_mean(command, COMMANDS)}: one of {', '.join(COMMANDS)}"
        )
    schema = experiments.settings(command)
    ConfigStore.instance().store(group="schema/pde", name=command, node=schema, package="_global_")
    sweep = bool({"-m", "--multirun"} & set(rest))
    hydra_app.run("pde", job, [f"pde={command}", *(as_list(command, argument, sweep) for argument in rest)])


def as_list(command: str, argument: str, sweep: bool) -> str:
    """time=0.1,0.2 as time=[0.1,0.2] for the keys that hold lists; with -m as time=[0.1],[0.2], one job each.

    Other arguments, and values with brackets, quotes or interpolations, are returned as they are.
    """
    key, equals, value = argument.partition("=")
    if key == "optimizer":  # Hydra would take it for the group of configs/ that training chooses from
        key, argument = "optimizers", f"optimizers={value}"
    lists = {field.name for field in fields(experiments.settings(command)) if "list[" in str(field.type)}
    if not equals or key not in lists or re.search(r"[\[\](){}$'\"]", value):
        return argument
    return f"{key}=" + (",".join(f"[{one}]" for one in value.split(",")) if sweep else f"[{value}]")


def job(config: DictConfig) -> None:
    """Run one experiment, which writes its files into Hydra's run directory, outputs/pde/COMMAND."""
    settings = validated(config)
    command = str(HydraConfig.get().runtime.choices["pde"])
    directory = Path(HydraConfig.get().runtime.output_dir)
    run = experiments.module(command).run
    if command == "verify":
        run(settings, directory)
        return
    outcome = run(settings, trained(settings)) if command == "hamiltonian" else run(settings)
    outcome.write(directory, json.dumps(OmegaConf.to_container(config)))


def trained(settings: Hamiltonian) -> Trained:
    """The network of a run, before and after training, in double precision, and test images.

    Here, for the laboratory may know neither runs nor networks (tests/test_house.py). Raises UserError for what is no
    run, and for a network whose depth is no time.
    """
    import torch

    from ..pde.experiments.hamiltonian_depth import Trained
    from ..runs.restored import restored

    found = restored(Path(settings.run), ["hardware.device=cpu"])
    if not all(hasattr(found.model, name) for name in ("stem", "field", "advance", "steps", "head")):
        raise UserError(
            f"run={settings.run} has model={found.conf.model.name}, whose depth is no time: give a run of model=odenet"
        )
    images, *targets = (each[: settings.images] for each in found.task.splits()["test"].take(0))

    def loss_of(head: nn.Module) -> Callable[[Tensor], Tensor]:
        return lambda last: found.task.loss(head, last, *targets) * len(last)

    networks: dict[str, Any] = {"before training": found.untrained(), "trained": found.model}
    pairs = {name: (network.double().eval(), loss_of(network.head)) for name, network in networks.items()}
    return Trained(settings.run, images.to(torch.float64), pairs)
