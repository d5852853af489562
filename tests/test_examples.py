"""The examples of CONTRIBUTING: each patch applies, changes no more files than promised, and trains."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
# patch: files that it may change (README and docs beside), what trains with it, a number that it brings to result.json
PROMISED = {
    "relaxation": (5, ["optimizer=antithetic"], "outer_steps"),
    "task": (3, ["task=sine"], "test_mae"),
    "metric": (1, [], "test_top2_error"),
}


def test_every_example_is_promised_something() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.patch")} == set(PROMISED)


@pytest.mark.parametrize("name", PROMISED)
def test_the_example_costs_what_contributing_says_and_trains(name: str, tmp_path: Path) -> None:
    most, overrides, number = PROMISED[name]
    patch = EXAMPLES / f"{name}.patch"
    changed = set(re.findall(r"^\+\+\+ b/(\S+)$", patch.read_text(), re.MULTILINE))
    assert 0 < len({file for file in changed if not file.startswith(("README", "docs/"))}) <= most
    copy = tmp_path / "copy"
    for folder in ("deeprelax", "configs", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["git", "apply", str(patch)], cwd=copy, check=True, capture_output=True)
    command = [sys.executable, "-m", "deeprelax", "train", *overrides, "epochs=1", "hardware.threads=1"]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(
        [*command, "train.bn_batches=2"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "outputs").rglob("result.json")
    assert json.loads(file.read_text())[number] >= 0
    # the house keeps its order with it, and one declaration a fact
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, copy)
    held = ["tests/test_house.py", "tests/cli/test_declaration.py"]
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *held]
    tested = subprocess.run(pytest_, cwd=copy, env=environment, capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout
