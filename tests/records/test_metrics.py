"""metrics.jsonl and its place in a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeprelax.errors import UserError
from deeprelax.records.metrics import Records


def test_records_behind_a_checkpoint_are_cut_off_on_resume(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.write("train", {"gradient_evaluations": 1, "passes": 0.1}, {"inner_loss": 2.0})
    state = records.state()
    records.write("train", {"gradient_evaluations": 2, "passes": 0.2}, {"inner_loss": 1.0})
    records.close()
    resumed = Records(tmp_path, state, 1)
    resumed.write("train", {"gradient_evaluations": 2, "passes": 0.2}, {"inner_loss": 1.5})
    resumed.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["inner_loss"] for line in lines] == [2.0, 1.5]


@pytest.mark.parametrize("damage", ["gone", "shorter", "changed"])
def test_records_that_the_checkpoint_does_not_know_are_refused(damage: str, tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.write("train", {"gradient_evaluations": 1, "passes": 0.1}, {"inner_loss": 2.0})
    state = records.state()
    records.close()
    file = tmp_path / "metrics.jsonl"
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-5] if damage == "shorter" else content.replace(b"2.0", b"1.0"))
    with pytest.raises(UserError, match=r"metrics\.jsonl is not what the checkpoint resumes from"):
        Records(tmp_path, state, 1)
    assert file.exists() is (damage != "gone")  # nothing was written
    file.write_bytes(content)
    Records(tmp_path, state, 1).close()
