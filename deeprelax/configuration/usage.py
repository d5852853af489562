"""Write the help of a Hydra command: choices and keys, by the comments in configs/ and the ranges of the schema."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from ..errors import UserError
from ..optim.hyperparameters import UP_TO
from .comments import Choices
from .run_name import key_of
from .schema import configuration_folder

COLUMN = 36  # where meanings begin
TIED = "\0"  # a blank at which no line is broken
OPTIONS = "Options: -m (every combination), --cfg job (show the configuration), --config-dir DIR (your own choices)"


def choices(config_dir: str | None) -> Choices:
    """Those of configs/ and of the user's own folder. Raises UserError if that is none."""
    if config_dir is not None and not Path(config_dir).is_dir():
        raise UserError(f"--config-dir {config_dir} is not a folder: give the one that holds your own choices")
    return Choices([configuration_folder(), *([] if config_dir is None else [Path(config_dir).absolute()])])


def composed(name: str, overrides: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """The configuration of a run, with Hydra's own part; of a sweep that of its first job. Nothing is started.

    Raises UserError, and what Hydra raises, for overrides that make no configuration.
    """
    own = [str(folder).replace("\\", "\\\\").replace("'", "\\'") for folder in choices(config_dir).folders[1:]]
    with initialize_config_dir(str(configuration_folder()), version_base="1.3"):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        first = [f"hydra.searchpath=['file://{folder}']" for folder in own]
        for override in parser.parse_overrides(list(overrides)):
            if override.is_discrete_sweep():
                first.append(f"{override.get_key_element()}={next(override.sweep_string_iterator())}")
            elif not override.is_sweep_override():
                first.append(str(override.input_line))
        return compose(name, first, return_hydra_config=True)


def text(name: str, overrides: Sequence[str], config_dir: str | None = None) -> str:
    """The help of a command: all choices and keys, or if a group's choice is given that with its keys alone.

    Raises as `composed`.
    """
    config, files = composed(name, overrides, config_dir), choices(config_dir)
    chosen = {str(group): str(choice) for group, choice in config.hydra.runtime.choices.items()}
    given = [group for each in overrides if files.has(group := key_of(each)) and group in chosen]
    parts = [str(key) for key in config if key != "hydra" and _is_group(config, key)]
    meanings = _meanings(files, name, chosen)
    lines = [line for group in given if group not in parts for line in (*_head(files, group, chosen), "")]
    if alone := [group for group in parts if group in given]:
        for group in alone:
            lines += [*_head(files, group, chosen), *_keys(config[group], f"{group}.", meanings), ""]
        lines += [f"All choices and keys: deeprelax {name} --help"]
    else:
        lines += [*str(config.hydra.help.header).splitlines(), ""]
        if listed := {"train": files.groups(), "bench": [group for group in parts if group in chosen]}.get(name):
            lines += ["Choices, as GROUP=CHOICE:", *_listing(files, listed), ""]
        lines += ["Keys and their values now, as KEY=VALUE; what they mean; [what they may be]:", ""]
        for group in parts:
            lines += [*_head(files, group, chosen), *_keys(config[group], f"{group}.", meanings), ""]
        lines += [*_keys(config, "", meanings), ""]
    return "\n".join([*lines, f"Files: {', '.join(map(str, files.folders))}", OPTIONS])


def _is_group(config: DictConfig, key: Any) -> bool:
    """Has the node keys of a schema?"""
    node = config._get_node(key)
    return isinstance(node, DictConfig) and is_dataclass(OmegaConf.get_type(node))


def _meanings(files: Choices, name: str, chosen: Mapping[str, str]) -> dict[str, str]:
    """Key to its comment: that of the choice, else that of the command's own file."""
    found = dict(files.comments(name).keys)
    for group, choice in chosen.items():
        prefix = "" if group == "pde" else f"{group}."  # the keys of an experiment have no group
        said = files.comments(f"{group}/{choice}").keys
        found |= {f"{prefix}{key}": comment for key, comment in said.items() if comment}
    return found


def _head(files: Choices, group: str, chosen: Mapping[str, str]) -> list[str]:
    """What is chosen from a group, and what its file says at its head; the name alone of a group without choices."""
    if group not in chosen:
        return [group]
    said = files.comments(f"{group}/{chosen[group]}").head
    title = f"deeprelax pde {chosen[group]}" if group == "pde" else f"{group}={chosen[group]}"
    return [title, *(f"  {line}" for line in _wrapped(said, 2))]


def _listing(files: Choices, groups: Sequence[str]) -> Iterator[str]:
    for group in (each for each in groups if len(files.of(each)) > 1):
        first, *rest = _wrapped(f"{group}: {', '.join(files.of(group))}", 6)
        yield from (f"  {first}", *(f"      {line}" for line in rest))


def _keys(node: DictConfig, prefix: str, meanings: Mapping[str, str]) -> Iterator[str]:
    """The plain keys of a node with their values, meanings and ranges."""
    schema = OmegaConf.get_type(node)
    described = {each.name: each for each in fields(schema)} if is_dataclass(schema) else {}
    values: Any = OmegaConf.to_container(node, resolve=False)
    for key, value in values.items():
        meaning = meanings.get(f"{prefix}{key}", "")
        if _is_group(node, key) or (key in ("name", "options") and not meaning):  # the choice's own, as all have them
            continue
        if isinstance(value, dict) and value:
            yield from _entry(f"{prefix}{key}.KEY=VALUE", meaning, f"now {', '.join(value)}")
        else:
            yield from _entry(f"{prefix}{key}={_shown(value)}", meaning, _allowed(described.get(key), value, meaning))


def _entry(key: str, meaning: str, allowed: str) -> Iterator[str]:
    bracket = f" [{allowed}]".replace(" ", TIED)[1:] if len(allowed) < 60 else f"[{allowed}]"
    lines = _wrapped(f"{meaning} {bracket}" if allowed else meaning, COLUMN)
    if len(key) + 4 > COLUMN:
        yield f"  {key}"
    else:
        yield f"  {key}".ljust(COLUMN) + next(iter(lines), "")
        lines = lines[1:]
    yield from (" " * COLUMN + line for line in lines)


def _allowed(described: Field[Any] | None, value: Any, meaning: str) -> str:
    """What a key may be, by its schema; "" where its meaning has said so, or it is any text."""
    if described is None:
        return ""
    _, allowed = described.metadata.get("check", (None, "true or false" if isinstance(value, bool) else ""))
    allowed = allowed.replace(f" {UP_TO}", "")  # of floats
    if allowed and "None" in str(described.type) and "null" not in allowed + meaning:
        allowed += ", or null"
    return "" if set(_words(allowed)) <= set(_words(meaning)) else allowed


def _words(text: str) -> list[str]:
    return re.findall(r"[\w.]+", text)


def _shown(value: Any) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(_shown, value))}]"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _wrapped(text: str, indent: int) -> list[str]:
    """The lines of a text beside a margin, as wide as the terminal, but not so wide that they are hard to read."""
    width = max(72, min(110, shutil.get_terminal_size((100, 24)).columns))
    lines = textwrap.wrap(text, width - indent, break_long_words=False, break_on_hyphens=False)
    return [line.replace(TIED, " ") for line in lines]
