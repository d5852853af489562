"""Restore a run's task and network from its directory, for what looks at it afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from ..configuration.check import load
from ..configuration.schema import TrainConf
from ..errors import UserError
from ..parallel.ranks import SOLO
from ..records import checkpoint
from ..records.directory import RunDirectory
from ..tasks.task import Task
from ..training.share import Share
from .build import build_model, build_task, choose_device, load_weights, set_up_cpu
from .initial import start_from
from .weights import of_kind


@dataclass(frozen=True)
class Restored:
    """A run as its last checkpoint has it."""

    directory: RunDirectory
    conf: TrainConf
    device: torch.device
    task: Task
    model: nn.Module
    data: str  # the fingerprint of what it was trained on
    of: str = ""  # which of its weights these are, in words

    def untrained(self) -> nn.Module:
        """The network before the first step. Raises UserError if a file or run with its first weights has gone."""
        channels_last = self.conf.hardware.channels_last
        model = build_model(self.conf.model, self.task, self.conf.seed, self.device, channels_last=channels_last)
        start_from(self.conf, model, self.task.buffers)
        return model


def restored(path: Path, overrides: Iterable[str] = (), weights: str = "last") -> Restored:
    """The run in this directory, its configuration changed by "key=value" overrides; sets the number of threads.

    weights: last, best or average. Raises UserError if the directory, its configuration, its checkpoint or the data are
    missing or corrupt, or the run has no such weights.
    """
    if not path.is_dir():
        raise UserError(f"{path} is not a directory: give the directory of a run")
    directory = RunDirectory(path)
    conf = load(directory.config, overrides)
    # both are of training alone, and no CPU has them
    conf = replace(conf, hardware=replace(conf.hardware, sync_batchnorm=False, cuda_graphs=False))
    state = checkpoint.latest(path)
    if state is None:
        raise UserError(f"{directory.checkpoint} is not there: the run has reached no checkpoint yet")
    state = of_kind(weights, state, directory)
    set_up_cpu(conf.hardware, state["threads"])
    device = choose_device(conf.hardware)
    task = build_task(conf, device, Share(SOLO))
    model = build_model(conf.model, task, conf.seed, device, channels_last=conf.hardware.channels_last)
    load_weights(model, state, path)
    return Restored(directory, conf, device, task, model, state["data"], state["of"])
