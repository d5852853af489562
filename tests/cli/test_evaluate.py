"""Test `deeprelax evaluate` on a run that is not finished."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from deeprelax.commands.evaluate import evaluate
from deeprelax.records import checkpoint
from tests.hooks import interrupt_at
from tests.quick import train

Compose = Callable[..., DictConfig]


def test_evaluating_an_unfinished_run_uses_statistics_at_x(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 28)
        with pytest.raises(KeyboardInterrupt):
            train(compose, tmp_path, "optimizer=sgd", "train.evaluate_every=100", "train.checkpoint_every=1")
    state = checkpoint.load(tmp_path / "checkpoint.pt")
    found = evaluate(tmp_path, [])
    assert "the run is not finished" in capsys.readouterr().out
    running = "3.running_mean"
    state["model"][running] = state["model"][running] + 100.0  # what evaluation must not depend on
    checkpoint.save(tmp_path, state)
    assert evaluate(tmp_path, []) == found
