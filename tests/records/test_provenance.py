"""provenance.json."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deeprelax.records import provenance


def test_a_run_names_the_commit_of_its_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = Path(provenance.__file__).parents[2]
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode:
        pytest.skip("not a git checkout")
    found = provenance.commit()
    assert found is not None
    assert found.rstrip("+") == head.stdout.strip()
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "deeprelax" / "records" / "provenance.py"))
    assert provenance.commit() is None
