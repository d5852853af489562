"""Files that are complete or not there, and locks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeprelax import files
from deeprelax.errors import UserError


def test_a_failing_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    files.write_json(path, {"a": 1})

    def fail(file: object) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        files.replace(path, fail)
    assert json.loads(path.read_text()) == {"a": 1}


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with (
        files.sole_writer(tmp_path),
        pytest.raises(UserError, match="is being written by process"),
        files.sole_writer(tmp_path),
    ):
        pass
    with files.sole_writer(tmp_path):
        pass
