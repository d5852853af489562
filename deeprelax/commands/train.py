"""`deeprelax train`: a Hydra application; one job is one run."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from .. import hydra_app
from ..config import checked
from ..training.run import run


def main(arguments: list[str]) -> None:
    hydra_app.run("train", job, arguments)


def job(config: DictConfig) -> float:
    """Train one network. Returns the error in percent, on validation data if held out, else on test data."""
    conf = checked(config)  # before any file is touched
    result = run(conf, config, Path(HydraConfig.get().runtime.output_dir))
    return float(result.get("validation_error", result["test_error"]))
