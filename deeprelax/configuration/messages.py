"""Turn mistakes in a configuration, and errors of Hydra's or OmegaConf's, into one-line messages."""

from __future__ import annotations

import difflib
import functools
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import Any

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    ValidationError,
)

from ..errors import did_you_mean
from .schema import SCHEMAS, BenchConf, LoopConf, ScheduleConf, TrainConf


def unknown_key(key: str, known: Iterable[str], choice: str = "", below: Sequence[str] = ()) -> str:
    """The message for a key that the schema does not have; `known` are the last parts of the keys beside it.

    `choice` is whose keys they are, as optimizer=sgd: in a sweep over choices only some have the key. `below`: what may
    be meant, optimizer.lr=0.1 for lr=0.1.
    """
    prefix, dot, last = key.rpartition(".")
    names = list(known)
    near = [f"{prefix}{dot}{each}" for each in difflib.get_close_matches(last, names, n=1)]
    meant = below if 0 < len(below) < 3 else near
    hint = f" (did you mean {' or '.join(meant)}?)" if meant else ""
    return (
        f"{key} is not a key{hint}: the keys {f'of {choice or prefix}' if prefix else 'there'} are {', '.join(names)}"
    )


def choice_of(schema: type) -> str:
    """The choice whose schema it is, as optimizer=sgd; "" if it is that of a whole group."""
    found = (
        f"{group}={name}" for group, schemas in SCHEMAS.items() for name, each in schemas.items() if each is schema
    )
    return next(found, "")


@functools.cache
def keys_of_type(word: str) -> set[str]:
    """The keys whose type, in some choice, has this word: "float", "list["."""
    schemas = [(f"{group}.", schema) for group, choices in SCHEMAS.items() for schema in choices.values()]
    schemas += [("schedule.", ScheduleConf), ("train.", LoopConf), ("", TrainConf), ("", BenchConf)]
    return {f"{prefix}{each.name}" for prefix, schema in schemas for each in fields(schema) if word in str(each.type)}


def keys_below(config: DictConfig | None, name: str) -> list[str]:
    """The keys of this name in the groups of a configuration, as optimizer.lr for lr; none where there is none."""
    groups: dict[str, Any] = {} if config is None else {str(key): config._get_node(key) for key in config}
    return [f"{key}.{name}" for key, node in groups.items() if isinstance(node, DictConfig) and name in node]


def offered(options: Iterable[str]) -> list[str]:
    """The choices of a group among the files of its folder: those whose name begins with _ are included by others."""
    return [option for option in options if not option.startswith("_")]


def explain(error: Exception, below: Callable[[str], Sequence[str]] = lambda key: ()) -> str:
    """The one-line message for an error of Hydra's or OmegaConf's.

    below: the overrides that may be meant by one of a key that is not there, but in a group.
    """
    cause = error.__cause__ or error  # Hydra wraps OmegaConf's errors, which hold the key
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        options = offered(error.options)
        more = " (more come with pip install 'deeprelax[sweeps]')" if group.startswith("hydra/") else ""
        known = f"one of {', '.join(options)}{more}"
        near = did_you_mean(choice, [option for option in options if option != "custom"])
        return f"{group}={choice} is not a choice{near}: {known}"
    if isinstance(cause, ConfigKeyError | ConfigAttributeError) and isinstance(error, ConfigCompositionException):
        node = cause.object_type if isinstance(cause.object_type, type) else TrainConf
        key = str(cause.full_key)
        return unknown_key(
            key, getattr(node, "__dataclass_fields__", {}), choice_of(node), () if "." in key else below(key)
        )
    if isinstance(cause, MissingMandatoryValue | InterpolationToMissingValueError):
        return f"{str(cause).splitlines()[0]}: give it a value"
    if isinstance(cause, ValidationError):
        if str(cause).splitlines()[0].endswith("is not Optional"):
            return f"{cause.full_key}=null is no value here: give it one"
        first = str(cause).splitlines()[0]
        if "is not a ListConfig" in first:
            return f"{cause.full_key} is a list: write {cause.full_key}=[VALUE,...]"
        return f"{cause.full_key}: {first[0].lower()}{first[1:]}"
    return _of_overrides(error) or " ".join(line.strip() for line in str(error).splitlines() if line.strip())


def not_started(error: Exception) -> str:
    """What is added to the message for an error in a job of a sweep, which was found before the first one began."""
    cause, advice = error.__cause__ or error, ""
    if isinstance(cause, ConfigKeyError | ConfigAttributeError) and isinstance(cause.object_type, type):
        choice = choice_of(cause.object_type)
        advice = f": leave {choice} out of it, or {cause.full_key}" if choice else ""
    return f"; no job of the sweep was started{advice}"


def swept_over(error: Exception) -> str:
    """The override with several values that Hydra refuses without -m; "" for another error."""
    found = re.search(r"(?:Ambiguous value for argument|Sweep parameters) '(.*)'", str(error))
    return found[1] if found else ""


def _of_overrides(error: Exception) -> str:
    """The message for overrides that Hydra cannot read or place; "" for another error."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        key, equals, value = str(error.override).partition("=")
        example = shlex.quote(f'{key}="{value}"')
        quoted = f", as {example}" if equals and '"' not in value else ""
        return f"{error.override} cannot be read: write KEY=VALUE, and quote a value with special characters{quoted}"
    if not isinstance(error, ConfigCompositionException):
        return ""
    if swept := swept_over(error):
        key, _, value = swept.partition("=")
        a_list = key in keys_of_type("list[") and not value.endswith(")")  # which would be of choice(...), range(...)
        listed = f", or write {shlex.quote(f'{key}=[{value}]')} for a list" if a_list else ""
        return f"{swept} is a sweep, one run for each value: add -m{listed}"
    if added := re.match(r"Could not override '(.*)'\. No match in the defaults list\.\n.*=(.*)", text):
        choice = "=".join(added.groups())
        return f"{choice} comes on top of what is chosen: write +{choice}"
    if "override ~" in text:
        return f"{text.rpartition(' ')[2]}: a key of the schema cannot be removed"
    if "Could not delete" in text:
        key = text.split("'")[1]  # Hydra takes a key that is null for one that is not there
        return f"~{key}: nothing can be removed there, a key has a value: {key}=VALUE"
    return ""
