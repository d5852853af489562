"""The schema of training runs and benchmarks: types and ranges.

Values and what they mean stand in configs/, one file a choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from ..optim.hyperparameters import RANGES

Check = tuple[Callable[[Any], bool], str]


def _limited(check: Check) -> Any:
    return field(default=MISSING, metadata={"check": check})


def _choice(*allowed: str) -> Any:
    return _limited((lambda v: v in allowed, ", ".join(allowed[:-1]) + " or " + allowed[-1]))


def _whole(low: int, high: int = 10**9) -> Any:
    return _limited((lambda v: v is None or low <= v <= high, f"an integer from {low} to {high}"))


def _positive(high: float = math.inf) -> Any:
    bound = "a finite number > 0" if high == math.inf else f"a number > 0 and at most {high:g}"
    return _limited((lambda v: v is None or (0 < v <= high and v < math.inf), bound))


_NUMBERS: Check = (
    lambda v: all(isinstance(each, int | float) and 0 <= each < math.inf for each in v),
    "a list of numbers >= 0",
)


def _probability() -> Any:
    return _limited((lambda v: 0 <= v < 1, "a number in [0, 1)"))


def _hyper(name: str) -> Any:
    return _limited(RANGES[name])


@dataclass
class DatasetConf:
    name: str = MISSING
    image_size: int | None = _whole(1, 4096)
    train_size: int | None = _whole(1)
    validation: int = _whole(0)
    normalize: str = _choice("mean_std", "gcn_zca", "none")
    augment: str = _choice("none", "flip_crop")
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
    hidden: int = _whole(1)
    dropout: float = _probability()


@dataclass
class AllCNNConf(ModelConf):
    variant: str = _choice("paper", "original")
    input_dropout: float = _probability()
    dropout: float = _probability()


@dataclass
class WideResNetConf(ModelConf):
    depth: int = _limited((lambda v: v >= 10 and (v - 4) % 6 == 0, "6 n + 4 with n >= 1 (10, 16, 22, 28, 40, ...)"))
    width: int = _whole(1)
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
    gamma: float = _positive()
    temperature: float = _hyper("temperature")
    inner_steps: int = _hyper("inner_steps")
    lr: float = _hyper("lr")
    momentum: float = _hyper("momentum")
    nesterov: bool = MISSING
    weight_decay: float = _hyper("weight_decay")
    seed: int = _hyper("seed")


@dataclass
class ScheduleConf:
    name: str = _choice("constant", "step", "cosine")
    milestones: list[float] = field(default_factory=list, metadata={"check": _NUMBERS})
    factor: float = _limited((lambda v: 0 <= v <= 1000, "a number from 0 to 1000"))


@dataclass
class HardwareConf:
    device: str = _choice("auto", "cpu", "cuda")
    devices: str = _limited((lambda v: v == "all" or (v.isdecimal() and int(v) >= 1), "an integer >= 1 or all"))
    share: str = _choice("data", "chains")
    sync_batchnorm: bool = MISSING
    precision: str = _choice("float32", "bfloat16")
    compile: bool = MISSING
    cuda_graphs: bool = MISSING
    threads: int | None = _whole(1, 4096)


@dataclass
class LoopConf:
    evaluate_every: float = _positive()
    record_every: float = _positive()
    checkpoint_every: float | None = _positive()
    checkpoint_seconds: float | None = _positive()
    on_nonfinite: str = _choice("stop", "skip")
    bn_batches: int = _whole(1)


@dataclass
class TrainConf:
    dataset: DatasetConf = MISSING
    model: ModelConf = MISSING
    optimizer: OptimizerConf = MISSING
    schedule: ScheduleConf = MISSING
    hardware: HardwareConf = MISSING
    train: LoopConf = MISSING
    epochs: float = _positive(1e6)
    batch_size: int = _whole(1)
    seed: int = _whole(0)
    data_dir: str | None = MISSING
    output_dir: str = _limited((lambda v: v.strip() != "", "the path of a folder"))
    continue_from: str | None = _limited((lambda v: v is None or v.strip() != "", "the directory of a finished run"))
    force: bool = MISSING
    deterministic: bool = MISSING


@dataclass
class BenchConf:
    dataset: DatasetConf = MISSING
    model: ModelConf = MISSING
    hardware: HardwareConf = MISSING
    batch_size: int = _whole(2)
    repeats: int = _whole(1, 1000)
    evaluations: int = _whole(1, 10_000)
    optimizers: dict[str, Any] = field(default_factory=dict)
    only: list[str] = field(default_factory=list)
    compile: bool = MISSING
    yardsticks: bool = MISSING
    workers: int = _whole(0, 256)
    whole_run: float | None = _positive(1e6)
    startup: bool = MISSING
    output_dir: str = _limited((lambda v: v.strip() != "", "the path of a folder"))


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
