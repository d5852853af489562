"""Steps, weights and scores that are not finite; steps that are skipped or aborted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from deeprelax.errors import Stopped, UserError
from deeprelax.optim import SGD
from deeprelax.parallel.signals import Requests
from deeprelax.records import checkpoint
from deeprelax.training.guard import Guard
from tests.hooks import spoil
from tests.optimizers import CHOICES
from tests.quick import RUN, directory, train

Compose = Callable[..., DictConfig]


@pytest.mark.parametrize("optimizer", CHOICES)
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    optimizer: str, compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, [32])
    with pytest.raises(
        UserError, match=r"outer step \d+ \(pass .*\): the loss or its direction is not finite .*lr"
    ) as e:
        train(compose, tmp_path, f"optimizer={optimizer}", *CHOICES[optimizer], "train.evaluate_every=2")
    assert re.search(r"kept; lower optimizer\.(inner_)?lr=[\d.]+", str(e.value))
    good = checkpoint.load(tmp_path / "checkpoint.pt")
    assert good["evaluations"] < 33
    assert all(torch.isfinite(value).all() for value in good["model"].values())
    assert not (tmp_path / "result.json").exists()
    assert "not finite" in (tmp_path / "train.log").read_text()


def test_a_step_of_a_network_without_buffers_can_be_aborted(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain.py").write_text(
        "import torch\n"
        "def net(channels, image_size, classes):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(image_size**2, classes))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(Requests, "overdue", True)
    monkeypatch.setattr(Requests, "_note", None)
    monkeypatch.setattr(Requests, "__enter__", lambda self: setattr(self, "number", 15) or self)
    with pytest.raises(Stopped) as stopped:
        train(compose, tmp_path / "a", "model=custom", "model.name=plain:net")
    assert stopped.value.status == 143
    assert checkpoint.load(tmp_path / "a" / "checkpoint.pt")["evaluations"] == 0


@pytest.mark.parametrize("optimizer", ["sgd", "entropy_sgd"])
def test_steps_that_are_not_finite_can_be_skipped(
    optimizer: str, compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, [9, 24])
    result = train(compose, tmp_path, f"optimizer={optimizer}", *CHOICES[optimizer], "train.on_nonfinite=skip")
    assert result["skipped_steps"] == 2
    assert result["test_error"] < 50
    text = (tmp_path / "metrics.jsonl").read_text()
    assert "NaN" not in text
    assert json.loads([line for line in text.splitlines() if '"train"' in line][-1])["skipped"] == 2
    assert "outer step 9: not finite, skipped" in (tmp_path / "train.log").read_text() or optimizer != "sgd"


Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("overrides", [["optimizer.lr=1e38", "epochs=0.5"], ["optimizer.lr=1e20", "epochs=1.5"]])
def test_weights_or_scores_that_are_not_finite_are_written_nowhere(overrides: list[str], deeprelax: Command) -> None:
    status, _, err = deeprelax(*RUN, *overrides, "train.evaluate_every=0.5", "train.record_every=0.1")
    assert (status, err.count("deeprelax: ")) == (1, 1)
    assert "not finite (lr 1e+" in err
    rate = f"optimizer.lr={float(overrides[0].partition('=')[2]):.3g} (with its momentum of 0.9 a rate of 1e+"
    assert f"; lower {rate}" in err
    assert err.endswith("; deeprelax find-lr with the same keys measures what rate it bears\n")
    assert not (directory() / "result.json").exists()
    for name in (checkpoint.NAME, checkpoint.PREVIOUS):
        if (directory() / name).exists():
            assert all(torch.isfinite(t).all() for t in checkpoint.load(directory() / name)["model"].values())
    assert "NaN" not in (directory() / "metrics.jsonl").read_text()


def test_a_skipped_step_leaves_no_statistics(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[dict[str, Any]] = []
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda folder, state: (saved.append(state), save(folder, state)))
    spoil(monkeypatch, [10], layer=lambda objective: next(objective.loss.network.children()))  # before the batch norm
    run = [*RUN, "train.on_nonfinite=skip", "train.checkpoint_every=0.1"]
    assert deeprelax(*run)[0] == 0
    assert json.loads((directory() / "result.json").read_text())["skipped_steps"] == 1
    for state in saved:
        assert all(torch.isfinite(t).all() for t in state["model"].values())


@pytest.mark.parametrize("score", ["loss", "accuracy"])
def test_every_score_is_checked_also_before_the_first_step(score: str) -> None:
    net = torch.nn.Linear(1, 1)
    guard = Guard(net, SGD(net.parameters()), False, lambda step: "lower the rate", lambda: True, lambda: 0.0)
    scores = {"test": {"loss": 1.0, "accuracy": 0.5}}
    guard.check_scores(scores)
    scores["test"][score] = float("nan")
    with pytest.raises(
        UserError, match=rf"^after outer step 0 \(pass 0\) the {score} of x is not finite \(lr 0\.1.*\)"
    ):
        guard.check_scores(scores)
