"""Define the schema of training runs and benchmarks: types and ranges.

Values and what they mean stand in configs/, one file a choice; what the keys of optimizers, networks and tasks may be,
in the hyperparameters.py of optim/, models/ and tasks/.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING

from .. import models, optim, tasks
from ..models.hyperparameters import RANGES as OF_MODELS
from ..optim.hyperparameters import RANGES as OF_OPTIMIZERS
from ..optim.hyperparameters import Row
from ..ranges import Check, choice, limited, positive, whole
from ..tasks.hyperparameters import RANGES as OF_TASKS
from .datasets import NO_DATA, DatasetConf, ImageFolderConf, NoDataConf

AVERAGES = ("ema", "swa", "lawa")  # of training/average.py, which imports torch
_NUMBERS: Check = (
    lambda v: all(isinstance(each, int | float) and 0 <= each < math.inf for each in v),
    "a list of numbers >= 0",
)
_TAGS: Check = (
    lambda v: all(each and not re.search(r"[\s,]", each) for each in v),
    "a list of words without blanks or commas, as [paper,lenet]",
)


def configuration_folder() -> Path:
    """The folder configs/: in the installed package, or beside the package in a working copy."""
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "configs", here.parent / "configs"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"no configs/ beside {here} nor in it: the installation is broken")


@dataclass
class TaskConf:
    """The group `task`: what is learned; options: keyword arguments of a class of the user's."""

    name: str = MISSING
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class ModelConf:
    """The group `model`; options: keyword arguments of a class of the user's; freeze: patterns of parameters."""

    name: str = MISSING
    options: dict[str, Any] = field(default_factory=dict)
    freeze: list[str] = field(default_factory=list)


@dataclass
class OptimizerConf:
    """The group `optimizer`; options: keyword arguments of a class of the user's; groups: rates of their own.

    decay_norms_and_biases: have parameters of one dimension the weight decay of the others?
    """

    name: str = MISSING
    options: dict[str, Any] = field(default_factory=dict)
    groups: list[dict[str, Any]] = field(default_factory=list)
    decay_norms_and_biases: bool = MISSING


@dataclass
class ScheduleConf:
    """The group `schedule`: how lr, or the rate of a chain, changes with the passes."""

    name: str = choice("constant", "step", "cosine", "linear", "trapezoid")
    milestones: list[float] = field(default_factory=list, metadata={"check": _NUMBERS})
    factor: float = limited(lambda v: 0 <= v <= 1000, "a number from 0 to 1000")
    warmup: float = limited(lambda v: 0 <= v <= 1e6, "a number of passes from 0 to 1000000")
    decay: float | None = positive(1e6)
    of: str = choice("lr", "inner_lr", "both")


@dataclass
class HardwareConf:
    """The group `hardware`: devices, how ranks share the work, precision, memory format, threads."""

    device: str = choice("auto", "cpu", "cuda")
    devices: str = limited(lambda v: v == "all" or (v.isdecimal() and int(v) >= 1), "an integer >= 1 or all")
    share: str = choice("data", "chains")
    sync_batchnorm: bool = MISSING
    precision: str = choice("float32", "tf32", "bfloat16", "float64")
    channels_last: bool = MISSING
    compile: bool = MISSING
    cuda_graphs: bool = MISSING
    threads: int | None = whole(1, 4096)


@dataclass
class LoopConf:
    """The group `train`: passes between evaluations, records and checkpoints, bad steps, which weights are kept."""

    evaluate_every: float = positive()
    record_every: float = positive()
    checkpoint_every: float | None = positive()
    checkpoint_seconds: float | None = positive()
    on_nonfinite: str = choice("stop", "skip")
    bn_batches: int = whole(1)
    average: str = choice("none", *AVERAGES)
    average_decay: float = limited(lambda v: 0 < v < 1, "a number above 0 and below 1")
    average_from: float = limited(lambda v: 0 <= v < 1, "a number >= 0 and below 1")
    average_every: float = positive()
    average_last: int = whole(1, 1000)
    keep: str = choice("last", "best")
    patience: float | None = positive()
    clip_norm: float | None = positive()


@dataclass
class TrainConf:
    """The configuration of `deeprelax train`, which config.yaml in a run's directory holds."""

    task: TaskConf = MISSING
    dataset: DatasetConf = MISSING
    model: ModelConf = MISSING
    optimizer: OptimizerConf = MISSING
    schedule: ScheduleConf = MISSING
    hardware: HardwareConf = MISSING
    train: LoopConf = MISSING
    epochs: float = positive(1e6)
    batch_size: int = whole(1)
    seed: int = whole(0)
    name: str | None = limited(lambda v: v is None or (v.strip() != "" and v.isprintable()), "one line of text")
    tags: list[str] = field(default_factory=list, metadata={"check": _TAGS})
    data_dir: str | None = MISSING
    output_dir: str = limited(lambda v: v.strip() != "", "the path of a folder")
    continue_from: str | None = limited(lambda v: v is None or v.strip() != "", "the directory of a finished run")
    init_from: str | None = limited(lambda v: v is None or v.strip() != "", "the directory of a run, or a file")
    force: bool = MISSING
    deterministic: bool = MISSING


@dataclass
class BenchConf:
    """The configuration of `deeprelax bench`."""

    dataset: DatasetConf = MISSING
    model: ModelConf = MISSING
    hardware: HardwareConf = MISSING
    batch_size: int = whole(2)
    repeats: int = whole(1, 1000)
    evaluations: int = whole(1, 10_000)
    optimizers: dict[str, Any] = field(default_factory=dict)
    only: list[str] = field(default_factory=list)
    yardsticks: bool = MISSING
    workers: int = whole(0, 256)
    whole_run: float | None = positive(1e6)
    output_dir: str = limited(lambda v: v.strip() != "", "the path of a folder")


def _or_none(allowed: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda v: v is None or allowed(v)


def _built(base: type[Any], group: str, choice: str, ranges: Mapping[str, Row]) -> type[Any]:
    """The schema of a shipped choice: the keys of its YAML in their order, with type and range by their rows.

    Raises AssertionError for a key without a row, which is a bug of ours.
    """
    file = configuration_folder() / group / f"{choice}.yaml"
    assert file.is_file(), f"{choice}, a file of the room of {group}s, needs a configs/{group}/{choice}.yaml"
    members: list[tuple[str, Any, Any]] = []
    for key, value in yaml.safe_load(file.read_text(encoding="utf-8")).items():
        if key not in ("defaults", *base.__dataclass_fields__):
            row = ranges.get(f"{choice}.{key}") or ranges.get(key)
            assert row is not None, (
                f"configs/{group}/{choice}.yaml: {key} has no row among the hyper-parameters of {group}s"
            )
            kind, allowed, description = row
            if value is None:  # null in the YAML means a default that depends on other keys
                members.append((key, kind | None, limited(_or_none(allowed), f"{description}, or null")))
            else:
                members.append((key, kind, limited(allowed, description)))
    name = choice.title().replace("_", "") + base.__name__
    built = make_dataclass(name, members, bases=(base,))
    built.__module__ = __name__
    globals()[name] = built  # pickle finds a class by its module and name, and joblib's launcher pickles configurations
    return built


BASES: dict[str, type[Any]] = {"task": TaskConf, "dataset": DatasetConf, "model": ModelConf, "optimizer": OptimizerConf}
SCHEMAS: dict[str, dict[str, type[Any]]] = {
    "task": {name: _built(TaskConf, "task", name, OF_TASKS) for name in tasks.CHOICES},
    "dataset": {"image_folder": ImageFolderConf, NO_DATA: NoDataConf},
    "model": {name: _built(ModelConf, "model", name, OF_MODELS) for name in models.CHOICES},
    "optimizer": {name: _built(OptimizerConf, "optimizer", name, OF_OPTIMIZERS) for name in optim.CHOICES},
}
