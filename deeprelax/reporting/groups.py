"""Group runs by their settings: by all of them, so that a group differs in the seed alone, or by chosen keys."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UserError, did_you_mean
from ..optim.hyperparameters import CHOSEN_ONCE
from .loading import NO_SETTING, Run

NAMES = ("dataset.name", "model.name", "optimizer.name")
METHOD = ("optimizer.", "schedule.")  # what may differ between two methods that are compared
ABSENT = "absent"


@dataclass(frozen=True)
class Group:
    """Runs of one setting over seeds. `shown`: short name -> value of the keys that the label is made of."""

    shown: dict[str, Any]
    runs: list[Run]

    @property
    def label(self) -> str:
        """The name in tables and figures, as "hj, gamma=0.1"."""
        parts = [str(v) if k == "optimizer" else f"{k}={_text(v)}" for k, v in self.shown.items() if v != ABSENT]
        return ", ".join(parts) or f"without {' and '.join(self.shown)}"

    @property
    def finished(self) -> list[Run]:
        """The runs that have a result."""
        return [run for run in self.runs if run.finished]

    def setting(self, key: str) -> Any:
        """The value of a key, in all runs of the group the same if it was grouped by; ABSENT if it has none."""
        return self.runs[0].settings.get(key, ABSENT)


def split(runs: Iterable[Run], keys: Sequence[str]) -> list[list[Run]]:
    """Partition the runs by their values of the keys; parts and runs in order of appearance."""
    parts: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        parts.setdefault(tuple(_plain(run.settings.get(key, ABSENT)) for key in keys), []).append(run)
    return list(parts.values())


def group(runs: Sequence[Run], by: Sequence[str] | None = None) -> list[Group]:
    """Group the runs by all settings in which they differ, or by the full keys `by`.

    By all settings, a label shows as few of them as tell the groups apart, and keys of optimizer and schedule only
    where the runs of that optimizer differ in them.
    """
    every = sorted({key for run in runs for key in run.settings})
    differing = [key for key in every if len(split(runs, [key])) > 1]
    if by is not None:
        names = short_names(by)
        return [Group({names[key]: part[0].settings.get(key, ABSENT) for key in by}, part) for part in split(runs, by)]
    keys = _telling(runs, differing)
    names = short_names(keys)
    parts = split(runs, differing)
    groups = []
    for part in parts:
        own = part[0].settings.get("optimizer.name")
        # a key in which the optimizers differ, but not the runs of this one, is implied by the optimizer's name
        kin = [run for run in runs if run.settings.get("optimizer.name") == own]
        shown = {
            names[key]: part[0].settings.get(key, ABSENT)
            for key in keys
            if not key.startswith(METHOD) or key == "optimizer.name" or len(split(kin, [key])) > 1
        }
        groups.append(Group(shown or {"optimizer": own}, part))
    return groups


def _telling(runs: Sequence[Run], differing: Sequence[str]) -> list[str]:
    """The differing keys that a label needs: data set, network, optimizer, then keys outside optimizer and schedule.

    Of the keys of optimizer and schedule only those that split the runs further, names and rules before numbers: a
    learning rate that changes with the optimizer, or with its rule, says nothing more.
    """
    chosen = [key for key in NAMES if key in differing]
    chosen += [key for key in differing if key not in chosen and not key.startswith(METHOD)]
    rest = [key for key in differing if key not in chosen]
    rest.sort(key=lambda key: (not key.endswith(".name"), key.removeprefix("optimizer.") not in CHOSEN_ONCE))
    for key in rest:
        if len(split(runs, [*chosen, key])) > len(split(runs, chosen)):
            chosen.append(key)
    return chosen


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """key -> the name to show: "optimizer.name" as "optimizer", others by their last part where that is unique."""
    keys = list(keys)
    short = {key: key.removesuffix(".name") if key.endswith(".name") else key.rpartition(".")[2] for key in keys}
    taken = list(short.values())
    return {key: name if taken.count(name) == 1 else key for key, name in short.items()}


def resolve_key(name: str, runs: Sequence[Run]) -> str:
    """The full key that a short name means: the key itself, X.name, optimizer.X, or the one key that ends in .X.

    Raises UserError if there is none or several, and for keys that no setting has, such as the seed.
    """
    known = sorted({key for run in runs for key in run.settings})
    for key in (name, f"{name}.name", f"optimizer.{name}"):
        if key in known:
            return key
    found = [key for key in known if key.endswith(f".{name}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{name} is the end of several keys: write one of {', '.join(found)}")
    if any(name in (key, key.rpartition(".")[2]) for key in NO_SETTING):
        raise UserError(f"{name} tells no runs apart: it is the seed, or cannot change the result")
    differing = [key for key in known if len(split(runs, [key])) > 1]
    names = [*known, *short_names(known).values()]
    listed = f"the runs differ in {', '.join(differing)}" if differing else "the runs differ in none"
    raise UserError(f"{name} is no key of these runs{did_you_mean(name, names)}: {listed}")


def matches(value: Any, text: str) -> bool:
    """Whether a setting's value is the one that `text` means on the command line; "null" means ABSENT."""
    if isinstance(value, bool) or value == ABSENT:
        return text.lower() == ("null" if value == ABSENT else str(value).lower())
    try:
        return bool(isinstance(value, int | float) and float(text) == value) or str(value) == text
    except ValueError:
        return str(value) == text


def _plain(value: Any) -> str:
    return json.dumps(_number(value), sort_keys=True, default=str)


def _number(value: Any) -> Any:
    """1.0 as 1: configurations hold the same value in both forms, and JSON would tell them apart."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return short if float(short := f"{value:g}") == value else str(value)
