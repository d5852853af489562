"""Name a run's directory by its configuration, so that repeating the command finds the run and resumes it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

# Keys that cannot change the result beyond rounding: a run may resume with other values of them
WITHOUT_EFFECT = {
    "data_dir",
    "output_dir",
    "force",
    "deterministic",
    "hardware.device",
    "hardware.devices",
    "hardware.threads",
    "train.record_every",
    "train.checkpoint_every",
    "train.checkpoint_seconds",
}
# seed and experiment have a level of their own in the path, and a sweep is what it sets
NOT_IN_NAME = WITHOUT_EFFECT | {"seed", "experiment", "sweep"}
# What runs did that were made before there were these keys
BEFORE: dict[str, Any] = {
    "task": {"name": "classification", "options": {}},
    "hardware": {"channels_last": True},
    "init_from": None,
    "dataset": {"parts": "balanced", "mirror": None, "crop_padding": None, "crop_scale": None, "color_jitter": 0.0},
}
FOLDERS_BEFORE: dict[str, Any] = {"dataset": {"split": None, "split_seed": 0}}  # and those of dataset=image_folder
PATHS = ("continue_from", "init_from")
UNSAFE = r"[^A-Za-z0-9._+-]+"
LONGEST = 120  # characters of a folder's name; file systems allow 255 bytes


def run_root(root: DictConfig) -> str:
    """`output_dir`, or "outputs" where that has no value, which `check` reports later."""
    return str(value_of(root, "output_dir") or "outputs")


def run_family(root: DictConfig) -> str:
    """The experiment's name, or "train"."""
    return root.hydra.runtime.choices.get("experiment") or "train"


def run_name(root: DictConfig) -> str:
    """ "<overrides>/seed-<n>": the overridden keys with their resolved values, sorted; "default" if there are none.

    By the values, not by the text of the command line: lr=0.1 and lr=1e-1 are the same run.
    """
    named = {}
    for override in OmegaConf.to_container(root.hydra.overrides.task, resolve=False):  # type: ignore[union-attr]
        key = key_of(str(override))
        if key not in NOT_IN_NAME:
            named[key] = f"{key}-{_text(_value(root, key))}"
    text = "+".join(named[key] for key in sorted(named)) or "default"
    short = "+".join(_shortened(key, named[key]) for key in sorted(named, key=lambda key: (key in PATHS, key)))
    return f"{_safe(text, short)}/seed-{_safe(str(value_of(root, 'seed')))}"


def key_of(override: str) -> str:
    """The key or group that an override of the command line sets."""
    return override.partition("=")[0].lstrip("+~")


def _value(root: DictConfig, key: str) -> Any:
    choices = root.hydra.runtime.choices
    value = choices[key] if key in choices else value_of(root, key)
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def value_of(root: DictConfig, key: str) -> Any:
    """A key's value; None if it has none."""
    try:
        return OmegaConf.select(root, key)
    except OmegaConfBaseException:  # missing, or an interpolation that leads nowhere: the schema's check names it
        return None


def _text(value: Any) -> str:
    return repr(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


def _shortened(key: str, text: str) -> str:
    """Of a path its last two folders, which stand last: a long one would leave no room for what else was given."""
    return f"{key}-{'/'.join(Path(text).parts[-2:])}" if key in PATHS and "/" in text else text


def _safe(text: str, short: str | None = None) -> str:
    """The text in characters that need no quoting in a shell or in Hydra's grammar, at most LONGEST of them.

    A hash is appended if it was changed, so that different texts get different names. short: shown instead of a text
    that is too long.
    """
    safe = re.sub(UNSAFE, "_", text)
    if safe == text and len(safe) <= LONGEST:
        return safe
    if len(safe) > LONGEST - 9 and short is not None:
        safe = re.sub(UNSAFE, "_", short)
    return f"{safe[: LONGEST - 9]}-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"
