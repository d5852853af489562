"""Register the schema with Hydra, check configurations, and load them from a run's directory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import UserError, did_you_mean
from ..files import corrupt
from ..optim.hyperparameters import OF_GROUPS, check_ranges, check_rules
from .datasets import NO_DATA
from .messages import choice_of, keys_below, unknown_key
from .registry import DOTTED, REGISTRY
from .rules import rules_before
from .run_name import BEFORE, CLASSES_BEFORE, FOLDERS_BEFORE, value_of
from .schema import BASES, SCHEMAS, BenchConf, TrainConf

NO_KEYWORDS = {
    "name",
    "options",
    "freeze",
    "groups",
    "decay_norms_and_biases",
}  # of a model's or an optimizer's constructor


def register() -> None:
    """Register the schema with Hydra: `schema/train`, `schema/bench` and `schema/<group>/<name>`."""
    store = ConfigStore.instance()
    store.store(group="schema", name="train", node=TrainConf, package="_global_")
    store.store(group="schema", name="bench", node=BenchConf, package="_global_")
    for group, schemas in SCHEMAS.items():
        for name, schema in schemas.items():
            store.store(group=f"schema/{group}", name=name, node=schema)


def checked(config: DictConfig) -> TrainConf:
    """Check a training run's configuration and return it as dataclasses.

    Raises UserError, naming the key, if a value is missing, unknown or out of range.
    """
    result = validated(config)
    assert isinstance(result, TrainConf)
    return result


def validated(config: DictConfig) -> Any:
    """Check a configuration of any schema and return it as an instance of its dataclass. Raises as `checked`."""
    for problem in _problems(config, ""):
        raise UserError(problem)
    try:
        return OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise UserError(str(error).splitlines()[0]) from None


def _problems(node: DictConfig, prefix: str) -> Iterator[str]:
    """The message for each mistake in a node; `prefix` is its key and a dot, or empty at the root."""
    schema = OmegaConf.get_type(node)
    if schema is None or not is_dataclass(schema):
        return
    known = {f.name: f for f in fields(schema)}
    for key in map(str, node):
        if key not in known:
            meant = [] if prefix else [f"{found}={node[key]}" for found in keys_below(node, key)]
            yield unknown_key(f"{prefix}{key}", known, choice_of(schema), meant)
    # Plain values before groups, whose values may interpolate them: the mistake is reported where it was made
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
    yield from _excluding(node, prefix)


def _excluding(node: DictConfig, prefix: str) -> Iterator[str]:
    if prefix == "":
        yield from _of_the_whole(node)
    if prefix == "dataset.":
        yield from _without_effect(node)
    if prefix == "schedule." and value_of(node, "decay") is not None and node.name != "trapezoid":
        yield f"schedule.decay does nothing with schedule.name={node.name}: take schedule=trapezoid"
    if prefix != "optimizer.":
        return
    yield from _groups(node)
    if value_of(node, "name") == "lbfgs" and value_of(node, "decay_norms_and_biases") is False:
        yield "optimizer.decay_norms_and_biases=false: optimizer=lbfgs has no weight decay, leave it out"
    try:
        check_rules({str(key): node[key] for key in node if not OmegaConf.is_missing(node, str(key))})
    except ValueError as error:
        yield f"optimizer.{error}"


def _of_the_whole(config: DictConfig) -> Iterator[str]:
    """Keys of several groups that exclude each other."""
    if value_of(config, "continue_from") and value_of(config, "init_from"):
        yield (
            f"continue_from={config.continue_from} and init_from={config.init_from} exclude each other: leave out "
            "init_from to continue all of that run, or continue_from to start from weights alone"
        )
    name = str(value_of(config, "optimizer.name"))
    of = value_of(config, "schedule.of")
    if of in ("inner_lr", "both") and ":" not in name and "inner_lr" not in config.optimizer:
        yield f"schedule.of={of} moves the rate of a chain, inner_lr, which optimizer={name} has not: leave it out"
    if value_of(config, "init_from") and value_of(config, "model.weights"):
        yield "init_from and model.weights exclude each other: both are the weights to start from; leave one out"
    if name == "lbfgs" and value_of(config, "train.clip_norm") is not None:
        yield (
            "train.clip_norm clips gradients, and the line search of optimizer=lbfgs needs them as they are: set "
            "train.clip_norm=null, or take another optimizer"
        )


def _without_effect(dataset: DictConfig) -> Iterator[str]:
    """A key of a crop that is not made."""
    augment = value_of(dataset, "augment")
    for key, crops in (("crop_padding", ("crop", "flip_crop", "flip_crop_cutout")), ("crop_scale", ("resized_crop",))):
        if value_of(dataset, key) is not None and augment not in crops:
            yield f"dataset.{key} does nothing with dataset.augment={augment}: take dataset.augment={crops[0]}"


def _groups(node: DictConfig) -> Iterator[str]:
    """The message for each mistake in `optimizer.groups`."""
    for group in node.groups:
        here = f"optimizer.groups: {group}"
        if not isinstance(group.get("match"), str) or not group.match:
            yield f"{here} has no match: give a pattern of parameters' names, as {{match: fc.*, lr: 0.01}}"
            continue
        values = {str(key): value for key, value in group.items() if key != "match"}
        known = [key for key in OF_GROUPS if key in node] or list(OF_GROUPS)  # of the user's own: its options say
        for key in values:
            if key not in known:
                yield f"{here}: {key} cannot be of a group{did_you_mean(key, known)}: {', '.join(known)} can"
        if not values:
            yield f"{here} has no value of its own: give it {' or '.join(known)}"
        try:
            check_ranges(values)
        except ValueError as error:
            yield f"{here}: {error}"


def _wrong_name(node: DictConfig, prefix: str) -> Iterator[str]:
    kind = prefix.rstrip(".")
    if kind not in REGISTRY:
        return
    known = [*REGISTRY[kind], *([NO_DATA] if kind == "dataset" else [])]
    schema = SCHEMAS[kind].get(node.name, BASES[kind])
    if node.name in known and OmegaConf.get_type(node) is not schema:
        yield f"{kind}.name={node.name} does not go with the keys of the choice made: write {kind}={node.name}"
    if ":" in node.name and not DOTTED.fullmatch(node.name):
        yield f"{kind}.name={node.name} cannot be read: write package.module:Name"
    if ":" not in node.name and node.name not in known:
        allowed = f"one of {', '.join(known)}, or your own as package.module:Name"
        yield f"{kind}.name={node.name} is unknown{did_you_mean(node.name, known)}: {allowed}"


def keywords(conf: Any) -> dict[str, Any]:
    """The keyword arguments for the constructor of a configured task, model or optimizer.

    A class of the user's, package.module:Name, gets its free `options` alone: the schema's other keys are not its own.
    """
    given = {f.name: getattr(conf, f.name) for f in fields(conf) if f.name not in NO_KEYWORDS}
    return dict(conf.options) if ":" in conf.name else given | dict(conf.options)


def stored(file: Path) -> DictConfig:
    """Load a run's config.yaml, unchecked. Raises UserError if it is missing or corrupt."""
    if not file.is_file():
        raise UserError(f"{file} is not there: is {file.parent} the directory of a run?")
    try:
        content = OmegaConf.load(file)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, OSError):
        content = None
    if not isinstance(content, DictConfig) or not all(
        isinstance(content.get(key, BEFORE if key == "task" else None), DictConfig | dict) for key in SCHEMAS
    ):
        raise corrupt(file)
    rules = {"optimizer": rules_before(str(OmegaConf.select(content, "optimizer.name")))}
    of_folders = FOLDERS_BEFORE if OmegaConf.select(content, "dataset.name") == "image_folder" else {}
    of_classes = CLASSES_BEFORE if OmegaConf.select(content, "task.name") in (None, "classification") else {}
    merged = OmegaConf.merge(BEFORE, rules, of_folders, of_classes, content)
    assert isinstance(merged, DictConfig)
    return merged


def _schema(group: str, content: Mapping[str, Any]) -> type[Any]:
    """Of the choice that is named; for a class of the user's, of the choice whose keys it came with."""
    schemas, base = SCHEMAS[group], BASES[group]
    if (known := schemas.get(str(content["name"]))) is not None:
        return known
    fitting = (each for each in (base, *schemas.values()) if set(content) <= {f.name for f in fields(each)})
    return next(fitting, base)


def load(file: Path, overrides: Iterable[str] = ()) -> TrainConf:
    """Load and check the configuration that a run was started with, changed by `key=value` overrides.

    Raises UserError if the file is missing or corrupt, and for overrides that `checked` refuses.
    """
    content = stored(file)
    base = OmegaConf.structured(TrainConf)
    try:
        for group in SCHEMAS:
            base[group] = OmegaConf.structured(_schema(group, content[group]))
        config = OmegaConf.merge(base, content)
    except OmegaConfBaseException as error:
        raise UserError(f"{file}: {str(error).splitlines()[0]}") from None
    for override in overrides:
        try:
            config = OmegaConf.merge(config, OmegaConf.from_dotlist([override]))
        except (OmegaConfBaseException, yaml.YAMLError) as error:
            raise UserError(f"{override}: {str(error).splitlines()[0]}") from None
    assert isinstance(config, DictConfig)
    return checked(config)
