"""Options of runs with a mean beside x or the best weights kept, and what is in their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deeprelax.records import checkpoint
from tests.quick import directory

RULES = {
    "ema": ["train.average=ema", "train.average_decay=0.9"],
    "swa": ["train.average=swa", "train.average_from=0.5", "train.average_every=0.5"],
    "lawa": ["train.average=lawa", "train.average_last=3", "train.average_every=0.5"],
}
HELD_OUT = "dataset.validation=50"
ALL = [*RULES["ema"], "train.keep=best", HELD_OUT, "train.evaluate_every=1"]


def state(root: str | Path) -> dict[str, Any]:
    return checkpoint.load(directory(root) / checkpoint.NAME)


def result(root: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory(root) / "result.json").read_text())
    return found
