"""The schema of a training run: types and ranges. Values and what they mean stand in configs/, one file a choice."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .errors import UserError
from .optim.hyperparameters import RANGES
from .registry import DOTTED, REGISTRY, did_you_mean

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
    milestones: list[float] = field(default_factory=list)
    factor: float = _limited((lambda v: 0 <= v < math.inf, "a finite number >= 0"))


@dataclass
class HardwareConf:
    device: str = _choice("auto", "cpu", "cuda")
    devices: str = _limited((lambda v: v == "all" or (v.isdecimal() and int(v) >= 1), "an integer >= 1 or all"))
    share: str = _choice("data", "chains")
    sync_batchnorm: bool = MISSING
    precision: str = _choice("float32", "bfloat16")
    threads: int | None = _whole(1, 4096)


@dataclass
class LoopConf:
    evaluate_every: float = _positive()
    record_every: float = _positive()
    checkpoint_every: float | None = _positive()
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
    force: bool = MISSING


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


def register() -> None:
    """Make the schema known to Hydra: `schema/train` and `schema/<group>/<name>`."""
    store = ConfigStore.instance()
    store.store(group="schema", name="train", node=TrainConf, package="_global_")
    for group, schemas in SCHEMAS.items():
        for name, schema in schemas.items():
            store.store(group=f"schema/{group}", name=name, node=schema)


def checked(config: DictConfig) -> TrainConf:
    """The typed configuration. Raises UserError, naming the key, if a value is missing, unknown or out of range."""
    for problem in _problems(config, ""):
        raise UserError(problem)
    try:
        result = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise UserError(str(error).splitlines()[0]) from None
    assert isinstance(result, TrainConf)
    return result


def _problems(node: DictConfig, prefix: str) -> Iterator[str]:
    schema = OmegaConf.get_type(node)
    if schema is None or not is_dataclass(schema):
        return
    known = {f.name: f for f in fields(schema)}
    for key in map(str, node):
        if key not in known:
            yield unknown_key(f"{prefix}{key}", known)
    # plain values first: others may be derived from them
    for name, described in sorted(known.items(), key=lambda item: isinstance(node._get_node(item[0]), DictConfig)):
        key = f"{prefix}{name}"
        if name not in node or OmegaConf.is_missing(node, name):
            yield f"{key} has no value: give one as {key}=VALUE"
            continue
        try:
            value = node[name]
        except OmegaConfBaseException as error:
            yield f"{key}: {str(error).splitlines()[0]}"
            continue
        if isinstance(value, DictConfig):
            yield from _problems(value, f"{key}.")
        elif "check" in described.metadata:
            allowed, description = described.metadata["check"]
            if not allowed(value):
                yield f"{key}={value} is out of range: it must be {description}"
    yield from _wrong_name(node, prefix)


def _wrong_name(node: DictConfig, prefix: str) -> Iterator[str]:
    kind = prefix.rstrip(".")
    if kind not in REGISTRY:
        return
    schema = SCHEMAS[kind].get(node.name, BASES[kind])
    if node.name in REGISTRY[kind] and OmegaConf.get_type(node) is not schema:
        yield f"{kind}.name={node.name} does not go with the keys of the choice made: write {kind}={node.name}"
    if ":" in node.name and not DOTTED.fullmatch(node.name):
        yield f"{kind}.name={node.name} cannot be read: write package.module:Name"
    if ":" not in node.name and node.name not in REGISTRY[kind]:
        allowed = f"one of {', '.join(REGISTRY[kind])}, or your own as package.module:Name"
        yield f"{kind}.name={node.name} is unknown{did_you_mean(node.name, REGISTRY[kind])}: {allowed}"


def unknown_key(key: str, known: Iterable[str]) -> str:
    """One sentence for a key that the schema does not have; `known` are the keys beside it."""
    prefix, dot, last = key.rpartition(".")
    names = list(known)
    near = difflib.get_close_matches(last, names, n=1)
    hint = f" (did you mean {prefix}{dot}{near[0]}?)" if near else ""
    return f"{key} is not a key{hint}: the keys {f'of {prefix}' if prefix else 'there'} are {', '.join(names)}"


def keywords(conf: Any) -> dict[str, Any]:
    """The keyword arguments that a configured model or optimizer is built with."""
    given = {f.name: getattr(conf, f.name) for f in fields(conf) if f.name not in ("name", "options")}
    return dict(conf.options) if ":" in conf.name else given | dict(conf.options)


def load(file: Path, overrides: Iterable[str] = ()) -> TrainConf:
    """The configuration that a run was started with, changed by `key=value` overrides. Raises UserError."""
    if not file.is_file():
        raise UserError(f"{file} is not there: is {file.parent} the directory of a run?")
    stored = OmegaConf.load(file)
    assert isinstance(stored, DictConfig)
    base = OmegaConf.structured(TrainConf)
    try:
        for group, schemas in SCHEMAS.items():
            default = BASES[group]
            base[group] = OmegaConf.structured(schemas.get(stored[group].name, default))
        config = OmegaConf.merge(base, stored)
    except OmegaConfBaseException as error:
        raise UserError(f"{file}: {str(error).splitlines()[0]}") from None
    for override in overrides:
        try:
            config = OmegaConf.merge(config, OmegaConf.from_dotlist([override]))
        except OmegaConfBaseException as error:
            raise UserError(f"{override}: {str(error).splitlines()[0]}") from None
    assert isinstance(config, DictConfig)
    return checked(config)


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """{"optimizer": {"lr": 0.1}} to {"optimizer.lr": 0.1}."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result
