"""The labels of a run, its `name` and `tags`: they stand in config.yaml and change no result."""

from __future__ import annotations

import logging
from typing import Any

from omegaconf import DictConfig, OmegaConf

from .. import files
from ..configuration.check import stored
from ..records.directory import RunDirectory

log = logging.getLogger(__name__)
LABELS = ("name", "tags")


def _given(config: DictConfig) -> dict[str, Any]:
    """The labels that are not left empty."""
    return {key: config[key] for key in LABELS if config.get(key)}


def with_labels(config: DictConfig, directory: RunDirectory) -> DictConfig:
    """The configuration with the labels that the run in the directory has already, where it has none of its own."""
    before = _given(stored(directory.config)) if directory.config.exists() else {}
    labelled = config.copy()
    labelled.update(before | _given(config))
    return labelled


def relabel(config: DictConfig, directory: RunDirectory) -> None:
    """Give a finished run the labels of this configuration; those that it leaves empty stay as they are."""
    there = OmegaConf.load(directory.config)
    assert isinstance(there, DictConfig)
    new = {key: value for key, value in _given(config).items() if there.get(key) != value}
    if new:
        there.update(new)
        files.replace_text(directory.config, OmegaConf.to_yaml(there))
        log.info("%s changed, nothing else", " and ".join(new))
