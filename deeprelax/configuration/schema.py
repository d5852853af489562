"""The schema of training runs and benchmarks: types and ranges.

Values and what they mean stand in configs/, one file a choice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from ..optim.hyperparameters import RANGES
from ..ranges import Check, choice, limited, positive, whole

_NUMBERS: Check = (
    lambda v: all(isinstance(each, int | float) and 0 <= each < math.inf for each in v),
    "a list of numbers >= 0",
)


def _probability() -> Any:
    return limited(lambda v: 0 <= v < 1, "a number in [0, 1)")


def _hyper(name: str) -> Any:
    return limited(*RANGES[name])


@dataclass
class DatasetConf:
    name: str = MISSING
    image_size: int | None = whole(1, 4096)
    train_size: int | None = whole(1)
    validation: int = whole(0)
    normalize: str = choice("mean_std", "gcn_zca", "none")
    augment: str = choice("none", "flip_crop")
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class ImageFolderConf(DatasetConf):
    path: str | None = MISSING


@dataclass
class ModelConf:
    name: str = MISSING
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class LeNetConf(ModelConf):
    dropout: float = _probability()


@dataclass
class MLPConf(ModelConf):
    hidden: int = whole(1)
    dropout: float = _probability()


@dataclass
class AllCNNConf(ModelConf):
    variant: str = choice("paper", "original")
    input_dropout: float = _probability()
    dropout: float = _probability()


@dataclass
class WideResNetConf(ModelConf):
    depth: int = limited(lambda v: v >= 10 and (v - 4) % 6 == 0, "6 n + 4 with n >= 1 (10, 16, 22, 28, 40, ...)")
    width: int = whole(1)
    dropout: float = _probability()


@dataclass
class OptimizerConf:
    name: str = MISSING
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class SGDConf(OptimizerConf):
    lr: float = _hyper("lr")
    momentum: float = _hyper("momentum")
    nesterov: bool = MISSING
    weight_decay: float = _hyper("weight_decay")


@dataclass
class EntropySGDConf(OptimizerConf):
    lr: float = _hyper("lr")
    gamma: float = _hyper("gamma")
    inner_steps: int = _hyper("inner_steps")
    inner_lr: float = _hyper("inner_lr")
    temperature: float = _hyper("temperature")
    averaging: float = _hyper("averaging")
    momentum: float = _hyper("momentum")
    nesterov: bool = MISSING
    inner_momentum: float = _hyper("inner_momentum")
    weight_decay: float = _hyper("weight_decay")
    scoping: float = _hyper("scoping")
    seed: int = _hyper("seed")


@dataclass
class HamiltonJacobiConf(OptimizerConf):
    lr: float = _hyper("lr")
    gamma: float = _hyper("gamma")
    inner_steps: int = _hyper("inner_steps")
    solver: str = _hyper("solver")
    inner_lr: float = _hyper("inner_lr")
    inner_momentum: float = _hyper("inner_momentum")
    averaging: float = _hyper("averaging")
    momentum: float = _hyper("momentum")
    nesterov: bool = MISSING
    weight_decay: float = _hyper("weight_decay")
    scoping: float = _hyper("scoping")


@dataclass
class HeatConf(OptimizerConf):
    lr: float = _hyper("lr")
    sigma: float = _hyper("sigma")
    samples: int = _hyper("samples")
    filter_normalized: bool = MISSING
    momentum: float = _hyper("momentum")
    nesterov: bool = MISSING
    weight_decay: float = _hyper("weight_decay")
    seed: int = _hyper("seed")


@dataclass
class PDERelaxedConf(OptimizerConf):
    equation: str = _hyper("equation")
    gamma: float = positive()
    temperature: float = _hyper("temperature")
    inner_steps: int = _hyper("inner_steps")
    lr: float = _hyper("lr")
    momentum: float = _hyper("momentum")
    nesterov: bool = MISSING
    weight_decay: float = _hyper("weight_decay")
    seed: int = _hyper("seed")


@dataclass
class ScheduleConf:
    name: str = choice("constant", "step", "cosine")
    milestones: list[float] = field(default_factory=list, metadata={"check": _NUMBERS})
    factor: float = limited(lambda v: 0 <= v <= 1000, "a number from 0 to 1000")


@dataclass
class HardwareConf:
    device: str = choice("auto", "cpu", "cuda")
    devices: str = limited(lambda v: v == "all" or (v.isdecimal() and int(v) >= 1), "an integer >= 1 or all")
    share: str = choice("data", "chains")
    sync_batchnorm: bool = MISSING
    precision: str = choice("float32", "bfloat16")
    compile: bool = MISSING
    cuda_graphs: bool = MISSING
    threads: int | None = whole(1, 4096)


@dataclass
class LoopConf:
    evaluate_every: float = positive()
    record_every: float = positive()
    checkpoint_every: float | None = positive()
    checkpoint_seconds: float | None = positive()
    on_nonfinite: str = choice("stop", "skip")
    bn_batches: int = whole(1)


@dataclass
class TrainConf:
    dataset: DatasetConf = MISSING
    model: ModelConf = MISSING
    optimizer: OptimizerConf = MISSING
    schedule: ScheduleConf = MISSING
    hardware: HardwareConf = MISSING
    train: LoopConf = MISSING
    epochs: float = positive(1e6)
    batch_size: int = whole(1)
    seed: int = whole(0)
    data_dir: str | None = MISSING
    output_dir: str = limited(lambda v: v.strip() != "", "the path of a folder")
    continue_from: str | None = limited(lambda v: v is None or v.strip() != "", "the directory of a finished run")
    force: bool = MISSING
    deterministic: bool = MISSING


@dataclass
class BenchConf:
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


SCHEMAS: dict[str, dict[str, type[Any]]] = {
    "dataset": {"image_folder": ImageFolderConf},
    "model": {"all_cnn": AllCNNConf, "lenet": LeNetConf, "mlp": MLPConf, "wrn": WideResNetConf},
    "optimizer": {
        "sgd": SGDConf,
        "entropy_sgd": EntropySGDConf,
        "hj": HamiltonJacobiConf,
        "hj_proximal": HamiltonJacobiConf,
        "heat": HeatConf,
        "pde_relaxed": PDERelaxedConf,
    },
}


BASES: dict[str, type[Any]] = {"dataset": DatasetConf, "model": ModelConf, "optimizer": OptimizerConf}
