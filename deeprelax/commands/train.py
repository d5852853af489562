"""Run `deeprelax train`: train networks, as a Hydra application in which a job is a run."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from ..configuration import hydra_app
from ..configuration.check import checked
from ..errors import UserError
from ..runs.run import run


def main(arguments: list[str]) -> None:
    """Compose the configuration and run `job`, with -m once for each combination. Raises UserError."""
    hydra_app.run("train", job, arguments)


def job(config: DictConfig) -> float:
    """Train one network. Returns the error in percent, which sweepers minimise: of validation data, else of test data.

    Raises UserError for a value out of range, and whatever `run` raises.
    """
    conf = checked(config)  # before any file is touched
    _check_search(conf.dataset.validation)
    result = run(conf, config, Path(HydraConfig.get().runtime.output_dir))
    return float(result.get("validation_error", result["test_error"]))


def _check_search(held_out: int) -> None:
    """Raise UserError if a sweeper that searches, as Optuna's, would choose settings by the test images."""
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN and not hydra.sweeper._target_.endswith(".BasicSweeper") and not held_out:
        raise UserError(
            "dataset.validation=0, but a sweeper that searches needs images held out, or it would choose by the test "
            "images: set dataset.validation, as to 10000"
        )
