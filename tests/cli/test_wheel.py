"""Test that the built package contains its configurations and finds them from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_contains_configs_and_finds_them(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.yaml")} == {
        name.removeprefix("deeprelax/") for name in names if name.startswith("deeprelax/configs/")
    }
    assert not {name for name in names if name.startswith(("tests", "outputs", "configs"))}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = (
        "import deeprelax, sys; assert 'site' in deeprelax.__file__; from deeprelax.cli import main; sys.exit(main())"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, "train", "--cfg", "job"],
        check=True, capture_output=True, text=True, cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    ).stdout  # fmt: skip
    assert "name: entropy_sgd" in shown
    assert list(elsewhere.iterdir()) == []
