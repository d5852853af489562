"""`hardware.precision=float32` and tf32: torch's settings of a GPU, which need none to be looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from deeprelax.records import checkpoint
from deeprelax.runs import train
from deeprelax.runs.precision import in_force, single_precision
from tests.quick import QUICK

Command = Callable[..., tuple[int, str, str]]
GPU = torch.device("cuda", 0)


def settings() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture(autouse=True)
def torchs_own() -> Iterator[None]:
    """Torch's defaults before each test, which after it are as they were."""
    assert settings() == (True, False)
    yield
    assert settings() == (True, False)


@pytest.mark.parametrize(
    ("precision", "tf32"), [("float32", False), ("tf32", True), ("bfloat16", False), ("float64", False)]
)
def test_a_run_on_a_gpu_sets_both_before_all_else_and_puts_them_back(
    precision: str, tf32: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(*_: object) -> None:
        seen.append((settings(), in_force(GPU), torch.are_deterministic_algorithms_enabled()))
        raise KeyError

    monkeypatch.setattr(train, "_train", look)
    hardware = SimpleNamespace(precision=precision, channels_last=True, compile=False)
    conf: Any = SimpleNamespace(hardware=hardware, deterministic=True)
    with pytest.raises(KeyError):
        train.train(conf, None, GPU)  # type: ignore[arg-type]
    assert seen == [((tf32, tf32), {"convolutions": tf32, "matrix_products": tf32}, True)]


def test_what_was_set_by_hand_is_there_again() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        with single_precision("float32", GPU):
            assert settings() == (False, False)
        assert settings() == (True, True)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


def test_a_cpu_is_left_alone() -> None:
    with single_precision("tf32", torch.device("cpu")):
        assert settings() == (True, False)
        assert torch.get_float32_matmul_precision() == "highest"
    assert in_force(torch.device("cpu")) == {"convolutions": False, "matrix_products": False}


def test_tf32_on_a_cpu_is_float32_bit_for_bit_and_the_record_says_so(deeprelax: Command) -> None:
    weights = []
    for precision in ("float32", "tf32"):
        words = ["train", *QUICK, "epochs=1", "hardware.device=cpu", f"hardware.precision={precision}"]
        assert deeprelax(*words, f"output_dir={precision}")[::2] == (0, "")
        (file,) = Path(precision).rglob("provenance.json")
        assert json.loads(file.read_text())["tf32"] == {"convolutions": False, "matrix_products": False}
        assert json.loads((file.parent / "result.json").read_text())["precision"] == precision
        weights.append(checkpoint.load(file.parent / checkpoint.NAME)["model"])
    one, other = weights
    assert all(torch.equal(one[key], other[key]) for key in one)
