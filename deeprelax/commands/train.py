"""Run `deeprelax train`: train networks, as a Hydra application in which a job is a run."""

from __future__ import annotations

import logging
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from ..configuration import hydra_app
from ..configuration.check import checked
from ..configuration.registry import resolve
from ..configuration.rules import not_applied
from ..configuration.schema import TrainConf
from ..errors import UserError
from ..records.directory import RunDirectory
from ..records.scores import cost
from ..runs.run import run

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> None:
    """Compose the configuration and run `job`, with -m once for each combination. Raises UserError."""
    hydra_app.run("train", job, arguments)


def job(config: DictConfig) -> float:
    """Train one network. Returns what sweepers minimise: the task's first score on validation data, else on test data.

    A score of which more is better has its sign changed. Raises UserError for a value out of range, and whatever `run`
    raises.
    """
    conf = checked(config)  # before any file is touched
    _check_search(conf)
    if (line := not_applied(config, HydraConfig.get().runtime.choices)) is not None:
        log.info(line)
    directory = Path(HydraConfig.get().runtime.output_dir)
    result = run(conf, config, directory, list(HydraConfig.get().overrides.task))
    return cost(result, RunDirectory(directory).score_metrics())


def _check_search(conf: TrainConf) -> None:
    """Raise UserError if a sweeper that searches, as Optuna's, would choose settings by the test data of a data set."""
    hydra = HydraConfig.get()
    searches = hydra.mode == RunMode.MULTIRUN and not hydra.sweeper._target_.endswith(".BasicSweeper")
    if not searches:
        return
    task = resolve("task", conf.task.name)
    group = "dataset" if getattr(task, "takes_data", True) else "task"
    if getattr(getattr(conf, group), "validation", None) == 0:
        examples = f"{getattr(task, 'noun', 'example')}s"
        raise UserError(
            f"{group}.validation=0, but a sweeper that searches needs {examples} held out, or it would choose by the "
            f"test {examples}: set {group}.validation to their number"
        )
