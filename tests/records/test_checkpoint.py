"""Checkpoints are valid or named as corrupt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deeprelax.errors import UserError
from deeprelax.records import checkpoint


def test_checkpoints_are_valid_or_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(tmp_path, {"model": {"w": torch.arange(1000.0)}, "evaluations": 3})
    assert checkpoint.load(path)["evaluations"] == 3
    assert torch.load(path, weights_only=True)["evaluations"] == 3  # others can read it too
    content = path.read_bytes()
    torch.save({"format": checkpoint.FORMAT}, path)
    for bad in (path.read_bytes(), content[:-100], content + b"more", b"not a checkpoint", b""):
        path.write_bytes(bad)
        with pytest.raises(UserError, match=r"checkpoint\.pt is not a whole checkpoint"):
            checkpoint.load(path)
    with pytest.raises(UserError, match="is not there"):
        checkpoint.load(tmp_path / "none.pt")


def test_a_bit_flipped_anywhere_in_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(tmp_path, {"model": {"w": torch.arange(10.0)}})
    content = bytearray(path.read_bytes())
    for bit in range(0, 8 * len(content), 11):  # all places in a byte, all parts of the file
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(UserError, match="is not a whole checkpoint"):
            checkpoint.load(path)
        content[bit // 8] ^= 1 << bit % 8


def test_a_corrupt_checkpoint_is_named_and_the_previous_one_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert checkpoint.latest(tmp_path) is None
    for evaluations in (3, 5):
        checkpoint.save(tmp_path, {"evaluations": evaluations})
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found["evaluations"] == 5
    (tmp_path / "checkpoint.pt").write_bytes((tmp_path / "checkpoint.pt").read_bytes()[:-30])
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found["evaluations"] == 3
    assert "checkpoint.pt is not a whole checkpoint" in caplog.text
    assert "resuming from checkpoint.previous.pt" in caplog.text
    assert checkpoint.latest(tmp_path, rename_corrupt=True) == found
    checkpoint.save(tmp_path, {"evaluations": 4})  # the corrupt one does not take the place of the complete one
    assert checkpoint.load(tmp_path / "checkpoint.previous.pt") == found
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"checkpoint\.pt is not a whole .*checkpoint\.previous\.pt is not a whole"):
        checkpoint.latest(tmp_path)
