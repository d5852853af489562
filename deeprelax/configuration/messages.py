"""Turn mistakes in a configuration, and errors of Hydra's or OmegaConf's, into one-line messages."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    ValidationError,
)

from ..errors import did_you_mean
from .schema import SCHEMAS, TrainConf


def unknown_key(key: str, known: Iterable[str], choice: str = "") -> str:
    """The message for a key that the schema does not have; `known` are the last parts of the keys beside it.

    `choice` is whose keys they are, as optimizer=sgd: in a sweep over choices only some have the key.
    """
    prefix, dot, last = key.rpartition(".")
    names = list(known)
    near = difflib.get_close_matches(last, names, n=1)
    hint = f" (did you mean {prefix}{dot}{near[0]}?)" if near else ""
    return (
        f"{key} is not a key{hint}: the keys {f'of {choice or prefix}' if prefix else 'there'} are {', '.join(names)}"
    )


def choice_of(schema: type) -> str:
    """The choice whose schema it is, as optimizer=sgd; "" if it is that of a whole group."""
    found = (
        f"{group}={name}" for group, schemas in SCHEMAS.items() for name, each in schemas.items() if each is schema
    )
    return next(found, "")


def offered(options: Iterable[str]) -> list[str]:
    """The choices of a group among the files of its folder: those whose name begins with _ are included by others."""
    return [option for option in options if not option.startswith("_")]


def explain(error: Exception) -> str:
    """The one-line message for an error of Hydra's or OmegaConf's."""
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
        return unknown_key(str(cause.full_key), getattr(node, "__dataclass_fields__", {}), choice_of(node))
    if isinstance(cause, MissingMandatoryValue | InterpolationToMissingValueError):
        return f"{str(cause).splitlines()[0]}: give it a value"
    if isinstance(cause, ValidationError):
        if str(cause).splitlines()[0].endswith("is not Optional"):
            return f"{cause.full_key}=null is no value here: give it one"
        first = str(cause).splitlines()[0]
        return f"{cause.full_key}: {first[0].lower()}{first[1:]}"
    if isinstance(error, OverrideParseException):
        key, equals, value = str(error.override).partition("=")
        example = shlex.quote(f'{key}="{value}"')
        quoted = f", as {example}" if equals and '"' not in value else ""
        return f"{error.override} cannot be read: write KEY=VALUE, and quote a value with special characters{quoted}"
    if isinstance(error, ConfigCompositionException) and "override ~" in str(error):
        return f"{str(error).rpartition(' ')[2]}: a key of the schema cannot be removed"
    if isinstance(error, ConfigCompositionException) and "Could not delete" in str(error):
        key = str(error).split("'")[1]  # Hydra takes a key that is null for one that is not there
        return f"~{key}: nothing can be removed there, a key has a value: {key}=VALUE"
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())
