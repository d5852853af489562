"""`hardware.compile=true`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deeprelax.records import checkpoint
from tests.quick import LONGER, QUICK, finish, kill_after

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_a_compiled_network_trains_and_resumes_bit_for_bit(devices: int) -> None:
    run = [*LONGER, "optimizer=hj", "optimizer.inner_steps=2", "epochs=20", "hardware.compile=true", "model=mlp"]
    run += [f"hardware.devices={devices}"]
    kill_after(0.1, *run, "output_dir=killed")
    a, b = finish(*run, "output_dir=killed"), finish(*run, "output_dir=whole")
    weights, whole = (checkpoint.load(directory / checkpoint.NAME)["model"] for directory in (a, b))
    assert all(torch.equal(weights[key], whole[key]) for key in whole)
    assert json.loads((b / "result.json").read_text())["test_error"] < 50  # mirrored digits are hard; chance is 90
    assert not any("_orig_mod" in key for key in whole)


def test_without_a_compiler_one_sentence_says_so(
    deeprelax: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", _no_compiler)
        status, _, err = deeprelax("train", *QUICK, "model=mlp", "hardware.compile=true", "optimizer=sgd")
    assert status == 1
    assert "deeprelax: hardware.compile=true, but torch cannot compile this (" in err
    assert err.splitlines()[-1].endswith("no compiler here): leave it out")


def _no_compiler() -> str:
    from torch._inductor.exc import InvalidCxxCompiler

    error = InvalidCxxCompiler()
    error.args = ("no compiler here",)
    raise error
