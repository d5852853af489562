"""Name a run's directory by its configuration, so that repeating the command finds the run and resumes it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
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
    "name",
    "tags",
    "hardware.cuda_graphs",
    "hardware.device",
    "hardware.devices",
    "hardware.threads",
    "train.record_every",
    "train.checkpoint_every",
    "train.checkpoint_seconds",
}
NAMED_BEFORE = {"hardware.cuda_graphs"}  # was in a name by an earlier version all the same
# seed and experiment have a level of their own in the path, and a sweep is what it sets
NOT_IN_NAME = WITHOUT_EFFECT | {"seed", "experiment", "sweep"}
# What runs did that were made before there were these keys
BEFORE: dict[str, Any] = {
    "task": {"name": "classification", "options": {}},
    "hardware": {"channels_last": True},
    "init_from": None,
    "dataset": {"parts": "balanced", "mirror": None, "crop_padding": None, "crop_scale": None, "color_jitter": 0.0,
                "label_noise": 0.0, "label_seed": 0},
    "name": None,
    "tags": [],
    "model": {"freeze": []},
    "optimizer": {"groups": [], "decay_norms_and_biases": True},
    "schedule": {"warmup": 0.0, "decay": None, "of": "lr"},
    "train": {
        "average": "none", "average_decay": 0.999, "average_from": 0.75, "average_every": 1.0, "average_last": 6,
        "keep": "last", "patience": None, "clip_norm": None,
    },
}  # fmt: skip
CLASSES_BEFORE: dict[str, Any] = {"task": {"label_smoothing": 0.0, "class_weights": None}}  # of task=classification
FOLDERS_BEFORE: dict[str, Any] = {"dataset": {"split": None, "split_seed": 0}}  # and those of dataset=image_folder
# What tells runs apart comes first in a name, the method before the problem; what seldom does, and may be long, last
FIRST = ("optimizer", "schedule", "model", "task", "dataset")
LAST = ("hardware", "train")
PATHS = ("continue_from", "init_from", "dataset.path", "task.path", "model.weights")
UNSAFE = r"[^A-Za-z0-9._+-]+"
LONGEST = 200  # bytes of a folder's name; file systems allow 255
LONGEST_BEFORE = 120  # of an earlier version, which sorted the keys by the alphabet
CUT = re.compile(r"-[0-9a-f]{8}$")  # the end of a name that does not show everything


def run_root(root: DictConfig) -> str:
    """`output_dir`, or "outputs" where that has no value, which `check` reports later."""
    return str(value_of(root, "output_dir") or "outputs")


def run_family(root: DictConfig) -> str:
    """The experiment's name, or "train"."""
    return root.hydra.runtime.choices.get("experiment") or "train"


def run_name(root: DictConfig) -> str:
    """ "<overrides>/seed-<n>": the overridden keys with their resolved values; "default" if there are none.

    By the values, not by the text of the command line: lr=0.1 and lr=1e-1 are the same run. The keys stand in the order
    of `rank`; over LONGEST bytes the name is cut, and ends with a hash of what it would have been. Where an earlier
    version has made the directory, of this seed or of others, it is by the name that that version gave it.
    """
    known = NOT_IN_NAME - NAMED_BEFORE
    given = {key: _text(_value(root, key)) for key in map(key_of, _overrides(root)) if key not in known}
    values = {key: text for key, text in given.items() if key not in NOT_IN_NAME}
    seed = f"seed-{_safe(str(value_of(root, 'seed')), LONGEST)}"
    names = [_joined(values), _joined(given), _joined_before(given)]
    folder = Path(run_root(root), run_family(root))
    there = [each for each in names if (folder / each / seed).exists()] or [
        each for each in names if (folder / each).exists()
    ]
    return f"{[*there, names[0]][0]}/{seed}"


def rank(key: str) -> tuple[int, int, str]:
    """The sort key of keys in a name: FIRST in their order, then those without a rank, LAST, and PATHS at the end."""
    group = key.replace("/", ".").partition(".")[0]
    if key in PATHS:
        return (3, 0, key)
    return (0, FIRST.index(group), key) if group in FIRST else (1 + (group in LAST), 0, key)


def whole_name(overrides: list[str]) -> str:
    """The overrides that a run's name is made of, as they were written, in the order of the name."""
    shown = {key_of(each): each for each in overrides if key_of(each) not in NOT_IN_NAME}
    return " ".join(shown[key] for key in sorted(shown, key=rank))


def _overrides(root: DictConfig) -> list[str]:
    return [str(each) for each in OmegaConf.to_container(root.hydra.overrides.task, resolve=False)]  # type: ignore[union-attr]


def _joined(values: Mapping[str, str]) -> str:
    keys = sorted(values, key=rank)
    text = "+".join(f"{key}-{values[key]}" for key in keys) or "default"
    return _safe(text, LONGEST, "+".join(f"{key}-{_shortened(key, values[key])}" for key in keys))


def _joined_before(values: Mapping[str, str]) -> str:
    """The name that an earlier version gave, letter for letter: whatever stood first by the alphabet came first."""
    named = {key: f"{key}-{values[key]}" for key in sorted(values)}
    short = {
        key: f"{key}-{'/'.join(Path(text).parts[-2:])}" if key in PATHS[:2] and "/" in text else text
        for key, text in sorted(named.items(), key=lambda item: item[0] in PATHS[:2])
    }
    return _safe("+".join(named.values()) or "default", LONGEST_BEFORE, "+".join(short.values()))


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
    """Of a path its last two folders: a long one would leave no room for what else was given."""
    return "/".join(Path(text).parts[-2:]) if key in PATHS and "/" in text else text


def _safe(text: str, longest: int, short: str | None = None) -> str:
    """The text in characters that need no quoting in a shell or in Hydra's grammar, at most `longest` of them.

    A hash is appended if it was changed, so that different texts get different names. short: shown instead of a text
    that is too long.
    """
    safe = re.sub(UNSAFE, "_", text)
    if safe == text and len(safe) <= longest:
        return safe
    if len(safe) > longest - 9 and short is not None:
        safe = re.sub(UNSAFE, "_", short)
    return f"{safe[: longest - 9]}-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"
