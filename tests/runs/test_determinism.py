"""`deterministic=true`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deeprelax.errors import UserError
from deeprelax.records import checkpoint
from deeprelax.runs.determinism import deterministic
from tests.quick import LONGER, QUICK, finish

Command = Callable[..., tuple[int, str, str]]


def test_settings_are_torchs_own_again_afterwards() -> None:
    with deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()
    with deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
        assert not torch.utils.deterministic.fill_uninitialized_memory  # a kernel for each tensor that is made
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_operation_that_cannot_be_is_named() -> None:
    place, ones = torch.zeros(2, dtype=torch.int64), torch.ones(2)
    message = r"deterministic=true, but .*put_.*change the network, or leave it out"
    with pytest.raises(UserError, match=message), deterministic(True):
        torch.zeros(3).put_(place, ones)
    assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(RuntimeError, match="another matter"), deterministic(True):
        raise RuntimeError("another matter")


def test_it_changes_nothing_on_a_cpu(deeprelax: Command) -> None:
    run = ["train", *QUICK, "epochs=1", "optimizer=hj", "optimizer.inner_steps=2"]
    assert deeprelax(*run, "output_dir=a")[0] == 0
    assert deeprelax(*run, "output_dir=b", "deterministic=true")[0] == 0
    (a,), (b,) = (list(Path(name).rglob("result.json")) for name in "ab")
    assert json.loads(a.read_text())["test_loss"] == json.loads(b.read_text())["test_loss"]
    assert a.parent.relative_to("a") == b.parent.relative_to("b")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("model", ["lenet", "all_cnn", "wrn"])
def test_two_runs_on_a_gpu_are_equal_bit_for_bit(model: str) -> None:
    run = [*LONGER, f"model={model}", "epochs=4", "deterministic=true", "hardware.device=cuda", "dataset.image_size=32"]
    a, b = (checkpoint.load(finish(*run, f"output_dir={name}") / checkpoint.NAME)["model"] for name in "ab")
    assert all(torch.equal(a[key], b[key]) for key in a)
