"""The blocks of docs/loops.md, each run in a program of its own; those of a framework where it is installed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "docs" / "loops.md").read_text(encoding="utf-8")
FIRST, *BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
FRAMEWORKS = ("accelerate", "transformers", "pytorch_lightning", "ignite", "skorch")


def framework(block: str) -> str | None:
    """The framework that a block imports; None for plain PyTorch."""
    return next((name for name in FRAMEWORKS if re.search(rf"^(from|import) {name}\b", block, re.MULTILINE)), None)


def test_every_framework_has_a_block() -> None:
    assert {framework(block) for block in BLOCKS} == {None, *FRAMEWORKS}


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=f"{framework(block) or 'plain'}-{i}", marks=[pytest.mark.slow] * bool(framework(block)))
        for i, block in enumerate(BLOCKS)
    ],
)
def test_the_block_runs(block: str, tmp_path: Path) -> None:
    name = framework(block)
    if name is not None and importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install '.[integrations]'")
    done = subprocess.run([sys.executable, "-c", f"{FIRST}\n{block}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "repeats one batch" not in done.stderr
