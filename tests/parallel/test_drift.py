"""A rank whose weights drift away from the others' ends the run before anything of it is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from deeprelax.records import checkpoint
from tests.quick import QUICK

Command = Callable[..., tuple[int, str, str]]
TWO = [*QUICK, "hardware.devices=2", "epochs=8", "train.record_every=1", "train.evaluate_every=2"]
# after step 20 of 50 the last bits of some weights of rank 1 are others: one alone may vanish in the next roundings
DRIFT = """
import os, torch
from deeprelax.optim import SGD, EntropySGD
def step(self, closure=None):
    loss = super(type(self), self).step(closure)
    group = self.param_groups[0]
    if os.environ.get("RANK") == "1" and group["outer_steps"] == 20 and "DRIFT" in os.environ:
        with torch.no_grad():
            flat = group["params"][0].view(-1)
            flat.view(torch.int32).bitwise_xor_(1)
    return loss
Data = type("Data", (SGD,), {"step": step, "__module__": __name__})
Chains = type("Chains", (EntropySGD,), {"step": step, "__module__": __name__})
"""


@pytest.mark.parametrize("share", ["data", "chains"])
def test_a_drift_of_last_bits_ends_the_run_before_it_is_kept(
    share: str, deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "drift.py").write_text(DRIFT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    own = [f"hardware.share={share}", "optimizer=custom", f"optimizer.name=drift:{share.capitalize()}"]
    own += ["+optimizer.options.inner_steps=1"] if share == "chains" else []
    monkeypatch.setenv("DRIFT", "1")
    status, _, err = deeprelax("train", *TWO, *own)
    assert status == 1
    line = r"deeprelax: after outer step 25 \(pass 4\) rank 1 had other weights than rank 0, and all must have the "
    assert re.match(line, err), err
    assert err.count("\n") == 1
    assert "the last checkpoint is kept; make them equal, and the same command resumes" in err
    (file,) = Path("outputs").rglob("metrics.jsonl")
    records = [json.loads(text) for text in file.read_text().splitlines()]
    assert {record["outer_steps"] for record in records if record["kind"] == "test"} == {13}
    assert max(record["outer_steps"] for record in records) < 25
    assert checkpoint.load(file.parent / checkpoint.NAME)["outer_steps"] == 13
    monkeypatch.delenv("DRIFT")
    status, out, err = deeprelax("train", *TWO, *own)
    assert (status, err) == (0, "")
    assert "resuming from pass 2.08" in out
