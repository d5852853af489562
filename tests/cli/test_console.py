"""Test what surrounds a command: flags, quotes, the environment, and a reader that closes the pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.quick import RUN, directory

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(("rank", "world"), [("abc", "2"), ("0", "0"), ("2", "2"), ("-1", "2")])
def test_a_place_that_cannot_be(rank: str, world: str, deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world)
    status, _, err = deeprelax(*RUN)
    assert (status, err.count("\n")) == (1, 1)
    assert "start with torchrun" in err


def test_a_run_goes_on_when_nobody_reads_its_words() -> None:
    command = [sys.executable, "-m", "deeprelax", *RUN, "epochs=1", "train.evaluate_every=0.2"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (directory() / "result.json").exists()


def test_flags_may_stand_between_overrides(deeprelax: Command) -> None:
    assert deeprelax(*RUN, "epochs=1", "-m", "seed=0,1")[0] == 0
    assert len(list(Path("outputs").rglob("result.json"))) == 2
    status, out, _ = deeprelax("train", "seed=7", "--cfg", "job", "epochs=3")
    assert status == 0
    assert "seed: 7" in out


def test_what_must_be_quoted_is_shown_quoted(deeprelax: Command) -> None:
    status, _, err = deeprelax("train", "output_dir=a=b")
    assert status == 1
    assert """quote a value with special characters, as 'output_dir="a=b"'""" in err
