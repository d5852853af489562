"""What tests of `deeprelax flatness` ask of small runs, and what it has written."""

from __future__ import annotations

import json
from pathlib import Path

LESS = ["dataset.train_size=64", "epochs=2"]
LITTLE = ["--top", "2", "--images", "50"]


def found(folder: Path) -> dict:  # type: ignore[type-arg]
    return json.loads((folder / "flatness.json").read_text())  # type: ignore[no-any-return]
