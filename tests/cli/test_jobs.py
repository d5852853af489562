"""Test jobs of a sweep that fail, whatever they raise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.quick import RUN

Command = Callable[..., tuple[int, str, str]]


OWN = """
import sys, torch
def net(channels, image_size, classes, trouble):
    if trouble == "exit":
        sys.exit(3)
    if trouble == "error":
        raise KeyError("mine")
    if trouble == "memory":
        torch.empty(10**15)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(image_size**2, classes))
"""


def test_whatever_a_job_raises_the_others_run_and_the_table_names_it(
    deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = [*RUN, "model=custom", "model.name=own:net", "epochs=1"]
    status, _, err = deeprelax(*run, "-m", "model.options.trouble=error,exit,memory,none")
    assert status == 1
    assert "deeprelax: 3 of 4 jobs failed; the same command does what is missing:\n" in err
    assert "trouble=error: KeyError: 'mine' (log: " in err
    assert "trouble=exit: SystemExit: 3 (log: " in err
    assert "trouble=memory: not enough memory (" in err
    assert len(list(Path("outputs").rglob("result.json"))) == 1
    (log,) = Path("outputs").rglob("*trouble-error*/seed-0/train.log")
    assert "KeyError: 'mine'" in log.read_text().splitlines()[-1]
