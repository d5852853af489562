"""Test what `deeprelax flatness` and `landscape` leave as it was, whatever happens while they measure."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from deeprelax.records import checkpoint
from deeprelax.runs import flatness
from deeprelax.training import evaluation
from tests.quick import QUICK, RUN, directory

Command = Callable[..., tuple[int, str, str]]
LESS = ["dataset.train_size=64", "epochs=2"]
FEW = ["--images", "8", "--top", "1"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def numbers(folder: Path) -> dict[str, Any]:
    """Of flatness.json, without the time and which checkpoint they are of."""
    found = json.loads((folder / "flatness.json").read_text())
    return {key: value for key, value in found.items() if key not in ("seconds", "checkpoint")}


def interrupted_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """Ctrl-C arrives in this call of the function."""
    function, calls = getattr(owner, name), []

    def counted(*words: Any, **keywords: Any) -> Any:
        calls.append(name)
        if len(calls) == call:
            raise KeyboardInterrupt
        return function(*words, **keywords)

    monkeypatch.setattr(owner, name, counted)


def test_flatness_that_is_interrupted(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files are as before, what was measured of other runs stays, and the same command measures what is missing."""
    for seed in ("1", "2"):
        assert deeprelax(*RUN, *LESS, f"seed={seed}")[0] == 0
    one, two = sorted(file.parent for file in Path("outputs").rglob("result.json"))
    assert deeprelax("flatness", str(two), *FEW, "--only", "hessian")[0] == 0
    before, state = contents(two), torch.get_rng_state()
    words = ["flatness", str(one), str(two), *FEW, "--only", "hessian,sharpness"]
    with monkeypatch.context() as patch:
        interrupted_at(patch, flatness, "measured", 7 + 3)
        status, out, err = deeprelax(*words)
    assert (status, err) == (130, f"deeprelax: interrupted; to resume: deeprelax {' '.join(words)}\n")
    assert f"written to {one}: flatness.json" in out
    assert contents(two) == before
    assert torch.equal(torch.get_rng_state(), state)
    status, out, _ = deeprelax(*words)
    assert status == 0
    assert f"as they are in {one}" in out
    assert numbers(two)["asked"]["parts"] == ["hessian", "sharpness"]
    assert numbers(two)["hessian"] == json.loads(before[str(two / "flatness.json")])["hessian"]


def test_landscape_that_is_interrupted(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert deeprelax(*RUN, *LESS)[0] == 0
    run = directory()
    assert deeprelax("landscape", str(run), "--points", "3")[0] == 0
    before, state = contents(run), torch.get_rng_state()
    interrupted_at(monkeypatch, evaluation, "score", 5)
    status, _, err = deeprelax("landscape", str(run), "--points", "3", "--seed", "1")
    assert (status, err.split(";")[0]) == (130, "deeprelax: interrupted")
    assert contents(run) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_of_a_run_of_two_ranks(deeprelax: Command) -> None:
    """One process measures: the numbers are those of a run of one rank with the same weights, to the bit."""
    words = ["train", *QUICK, *LESS, "optimizer=heat"]
    assert deeprelax(*words, "output_dir=one")[0] == 0
    assert deeprelax(*words, "hardware.devices=2", "hardware.share=chains", "output_dir=two")[0] == 0
    one, two, same = directory("one"), directory("two"), Path("same")
    assert json.loads((two / "result.json").read_text())["ranks"] == 2
    shutil.copytree(one, same)
    state = checkpoint.load(same / checkpoint.NAME)
    state["model"] = checkpoint.load(two / checkpoint.NAME)["model"]
    del state["format"]  # which it is saved with
    checkpoint.save(same, state)
    for run in (one, two, same):
        assert deeprelax("flatness", str(run), "--images", "40", "--top", "1", "--only", "hessian")[0] == 0
    assert deeprelax("landscape", str(two), "--points", "3")[0] == 0
    assert numbers(two)["hessian"] == numbers(same)["hessian"] != numbers(one)["hessian"]
    assert numbers(two)["loss"] == numbers(same)["loss"]
    assert (two / "landscape_2d.npz").stat().st_size > 1000


@pytest.mark.parametrize("command", ["flatness", "landscape"])
def test_checkpoints_that_are_missing_or_corrupt(command: str, deeprelax: Command) -> None:
    """A sentence, and nothing is written; an unfinished run with a checkpoint is measured."""
    assert deeprelax(*RUN, *LESS)[0] == 0
    run = directory()
    words = [command, str(run), *({"flatness": [*FEW, "--only", "hessian"]}.get(command, ["--points", "3"]))]
    file, whole = run / checkpoint.NAME, (run / checkpoint.NAME).read_bytes()
    for content, message in [
        (whole[:3000], f"{file} is not a whole checkpoint of this version of deeprelax: delete it and start again"),
        (whole[:-1] + bytes([whole[-1] ^ 1]), f"{file} is not a whole checkpoint of this version of deeprelax: delete "
         "it and start again"),
        (None, f"{file} is not there: the run has reached no checkpoint yet"),
    ]:  # fmt: skip
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        before = contents(run)
        assert deeprelax(*words)[::2] == (1, f"deeprelax: {message}\n")
        assert contents(run) == before
    file.write_bytes(whole)
    (run / "result.json").unlink()
    status, out, err = deeprelax(*words)
    assert (status, err) == (0, "")
    assert "result.json" not in out
