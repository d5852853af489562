"""Physics-informed networks from the command line: precision, ranks, a compiler, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.quick import directory

Command = Callable[..., tuple[int, str, str]]


SHORT = ["train", "task=pinn", "task.points=100", "batch_size=20", "epochs=2", "model.hidden=8", "hardware.threads=1"]


def test_a_run_in_double_precision_draws_its_picture(deeprelax: Command) -> None:
    status, out, err = deeprelax(*SHORT, "hardware.precision=float64", "model=gated_mlp", "optimizer=adamw")
    assert (status, err) == (0, "")
    assert "gated_mlp on pinn with adamw: 2 passes over 100 points" in out
    assert "test relative_l2 " in out
    result = json.loads((directory() / "result.json").read_text())
    assert result["precision"] == "float64"
    assert {f"test_{name}" for name in ("loss", "relative_l2", "residual", "initial", "boundary")} <= set(result)
    assert (directory() / "solution.png").read_bytes().startswith(b"\x89PNG")
    kinds = [json.loads(line) for line in (directory() / "metrics.jsonl").read_text().splitlines()]
    assert all({"residual", "initial", "boundary"} <= set(each) for each in kinds if each["kind"] == "test")


NORMED = """import torch
class Net(torch.nn.Sequential):
    def __init__(self, inputs, outputs):
        super().__init__(torch.nn.Linear(inputs, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, outputs))
"""


UNUSED = """
        self.unused = torch.nn.Parameter(torch.ones(3))

    def forward(self, x):
        for layer in list(self)[:3]:
            x = layer(x)
        return x
"""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hardware.precision=bfloat16"], "hardware.precision=bfloat16 has too few digits for the derivatives"),
        (["hardware.compile=true"], "task.differentiation=forward"),
        (["model=custom", "model.name=normed:Net"], "has batch norm, by which an output depends on all inputs"),
        (["task.equation=heta"], "task.equation=heta is out of range: it must be one of heat, convection"),
        (
            ["task.equation=oscillator", "task.conditions=hard"],
            "those of oscillator are neither: use task.conditions=soft",
        ),
        (["task.adaptive=0.5", "optimizer=lbfgs"], "task.adaptive=0.5 change the loss from time to time"),
        (["task.equation=wave", "task.coefficient=2.5"], "the coefficient beta of wave must be an integer"),
        (["model=lenet"], "model=lenet takes channels, image_size, classes; task=pinn gives inputs, outputs"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    words: list[str], message: str, deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "normed.py").write_text(NORMED)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = [word for word in SHORT if not (words[0].startswith("model=") and word.startswith("model."))]
    status, _, err = deeprelax(*run, *words)
    assert (status, err.count("\n")) == (1, 1), err
    assert message in err


def test_double_precision_is_for_derivatives(deeprelax: Command) -> None:
    status, _, err = deeprelax("train", "experiment=smoke", "hardware.precision=float64")
    assert (status, err.count("\n")) == (1, 1)
    assert "hardware.precision=float64 is for losses made of derivatives, which task=classification has not" in err


def test_a_parameter_without_a_gradient_is_no_crash_on_two_ranks(
    deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And two ranks are one."""
    (tmp_path / "unused.py").write_text(NORMED.replace("BatchNorm1d(8)", "Tanh()") + UNUSED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    run = [word for word in SHORT if not word.startswith("model.")]
    run += ["model=custom", "model.name=unused:Net", "optimizer=sgd", "optimizer.lr=0.01", "task.equation=wave"]
    results = []
    for devices in (1, 2):
        status, _, err = deeprelax(*run, f"hardware.devices={devices}", f"output_dir={devices}")
        assert (status, err) == (0, "")
        results.append(json.loads((directory(str(devices)) / "result.json").read_text()))
    for name in ("test_loss", "test_relative_l2"):
        assert results[0][name] == pytest.approx(results[1][name], rel=1e-4)


@pytest.mark.slow
def test_a_compiled_loss_in_forward_mode_trains_the_same(deeprelax: Command) -> None:
    run = [*SHORT, "task.differentiation=forward", "optimizer=sgd", "optimizer.lr=0.01"]
    results = []
    for name, compiled in (("called", "false"), ("compiled", "true")):
        status, _, err = deeprelax(*run, f"hardware.compile={compiled}", f"output_dir={name}")
        assert status == 0, err  # torch's compiler may have a word of its own
        results.append(json.loads((directory(name) / "result.json").read_text()))
    assert results[0]["test_loss"] == pytest.approx(results[1]["test_loss"], rel=1e-3)
