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
from deeprelax.records.directory import RunDirectory
from deeprelax.runs import precision as arithmetic
from deeprelax.runs import resume, train
from deeprelax.runs.precision import in_force, single_precision
from deeprelax.training import evaluation
from tests.quick import QUICK, directory

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


def test_a_landscape_is_of_the_runs_own_arithmetic(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU's would be: it is set before the first loss, and put back."""
    assert deeprelax("train", *QUICK, "epochs=1", "hardware.precision=tf32")[0] == 0
    seen, score = [], evaluation.score

    def look(*arguments: Any, **keywords: Any) -> dict[str, float]:
        seen.append(settings())
        return score(*arguments, **keywords)

    monkeypatch.setattr(evaluation, "score", look)
    monkeypatch.setattr(arithmetic, "single_precision", lambda asked, device: single_precision(asked, GPU))
    assert deeprelax("landscape", str(directory()), "--points", "3")[0] == 0
    assert set(seen) == {(True, True)}


@pytest.mark.parametrize(
    ("device", "asked", "record", "warned"),
    [("cuda", "float32", {}, True), ("cuda", "float32", {"tf32": {"convolutions": False}}, False),
     ("cuda", "bfloat16", {}, False), ("cpu", "float32", {}, False), ("cuda", "float32", None, False)],
)  # fmt: skip
def test_a_run_that_began_with_torchs_own_arithmetic_is_told_that_it_resumes_with_another(
    device: str, asked: str, record: dict[str, Any] | None, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The record names it since this package sets it. None: there is no record, as where a run is continued."""
    if record is not None:
        Path("provenance.json").write_text(json.dumps(record))
    conf: Any = SimpleNamespace(hardware=SimpleNamespace(precision=asked))
    resume.log_other_rounding(conf, RunDirectory(Path()), torch.device(device))
    assert ("hardware.precision=float32 was TF32 in a GPU's convolutions" in caplog.text) == warned


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
