"""A run and its directory: started, gone on with, or found finished."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from .. import files
from ..config import TrainConf, flat
from ..errors import UserError
from ..rundir import WITHOUT_EFFECT
from .progress import logging_to

log = logging.getLogger(__name__)


def run(conf: TrainConf, config: DictConfig, directory: Path) -> dict[str, Any]:
    """Train as `conf` says, in `directory`; `config` is the same, for the record. Returns result.json's content.

    A finished run is left alone, an unfinished one gone on with, unless `conf.force`. Raises UserError if the
    directory holds a run of another configuration or another process writes it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with files.sole_writer(directory):
        if conf.force:
            _clear(directory)
        _same_configuration(directory / "config.yaml", config)
        result_file = directory / "result.json"
        if result_file.exists():
            result: dict[str, Any] = json.loads(result_file.read_text())
            log.info("finished before: %s", closing_line(result, directory))
            log.info("(force=true starts it again)")
            return result
        with logging_to(directory / "train.log"):
            files.replace_text(directory / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
            log.info("run directory %s", _shown(directory))
            from .session import train  # imports torch

            result = train(conf, directory)
            files.write_json(result_file, result)
            log.info(closing_line(result, directory))
        return result


def closing_line(result: dict[str, Any], directory: Path) -> str:
    return (
        f"test error {result['test_error']:.2f} %  {result['gradient_evaluations']} gradient evaluations  "
        f"{result['seconds']:.1f} s  {_shown(directory)}"
    )


def _shown(directory: Path) -> str:
    here = Path.cwd()
    return str(directory.relative_to(here) if directory.is_relative_to(here) else directory)


def _clear(directory: Path) -> None:
    """Remove a run, but not the lock that is held."""
    for entry in directory.iterdir():
        if entry.name == "tensorboard":
            shutil.rmtree(entry)
        elif entry.name != ".lock" and entry.is_file():
            entry.unlink()


def _same_configuration(file: Path, config: DictConfig) -> None:
    if not file.exists():
        return
    stored = OmegaConf.load(file)
    assert isinstance(stored, DictConfig)
    there, here = _decisive(stored), _decisive(config)
    different = [
        f"{key} is {there.get(key)} there and {here.get(key)} here"
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key)
    ]
    if different:
        raise UserError(
            f"{file.parent} holds a run of another configuration ({'; '.join(different)}): "
            "force=true starts it anew, another output_dir keeps both"
        )


def _decisive(config: DictConfig) -> dict[str, Any]:
    """The flat configuration without the keys that cannot change the result."""
    values = flat(OmegaConf.to_container(config, resolve=True))
    return {key: value for key, value in values.items() if key not in WITHOUT_EFFECT}
