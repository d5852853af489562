"""Where a run lies: a function of its configuration, so that a restart finds it."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

# What cannot change the result beyond rounding.
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
LEFT_OUT = WITHOUT_EFFECT | {"seed", "experiment", "sweep"}  # these have a level of their own in the path
LONGEST = 120


def run_root(root: DictConfig) -> str:
    """`output_dir`; "outputs" where that has no value, which the schema complains of later."""
    return str(_select(root, "output_dir") or "outputs")


def run_family(root: DictConfig) -> str:
    """The experiment's name, or "train"."""
    return root.hydra.runtime.choices.get("experiment") or "train"


def run_name(root: DictConfig) -> str:
    """ "<overrides>/seed-<n>": the overridden keys with their resolved values, sorted; "default" if there are none."""
    named = {}
    for override in OmegaConf.to_container(root.hydra.overrides.task, resolve=False):  # type: ignore[union-attr]
        key = str(override).partition("=")[0].lstrip("+~")
        if key not in LEFT_OUT:
            named[key] = f"{key}-{_text(_value(root, key))}"
    text = "+".join(named[key] for key in sorted(named)) or "default"
    return f"{_safe(text)}/seed-{_safe(str(_select(root, 'seed')))}"


def _value(root: DictConfig, key: str) -> Any:
    choices = root.hydra.runtime.choices
    value = choices[key] if key in choices else _select(root, key)
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _select(root: DictConfig, key: str) -> Any:
    try:
        return OmegaConf.select(root, key)
    except OmegaConfBaseException:  # missing, or an interpolation that leads nowhere: the schema's check names it
        return None


def _text(value: Any) -> str:
    return repr(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


def _safe(text: str) -> str:
    """Only characters that neither a shell nor Hydra's grammar trips over; a hash keeps different texts apart."""
    safe = re.sub(r"[^A-Za-z0-9._+-]+", "_", text)
    if safe == text and len(safe) <= LONGEST:
        return safe
    return f"{safe[: LONGEST - 9]}-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"
