"""Whole runs in this process: exact resumption, what is written, when a finished run is skipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from deeprelax.errors import UserError
from deeprelax.records import checkpoint
from deeprelax.records.directory import RunDirectory
from deeprelax.runs.run import _show_told, class_line, closing_line
from tests.hooks import interrupt_at
from tests.optimizers import TRAINED
from tests.quick import assert_same, scalars, train
from tests.reporting.fakes import write_fit

Compose = Callable[..., DictConfig]


@pytest.mark.parametrize("optimizer", TRAINED)
def test_an_interrupted_run_resumes_bit_for_bit(
    optimizer: str, compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [
        *TRAINED[optimizer],
        "train.evaluate_every=3",
        "train.checkpoint_every=0.7",
    ]
    overrides += ["schedule=cosine", "train.record_every=1", "dataset.augment=flip_crop"]
    train(compose, tmp_path / "whole", *overrides)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 29)  # pass 4.6: in the middle of a pass, between evaluations, records and checkpoints
        with pytest.raises(KeyboardInterrupt):
            train(compose, tmp_path / "parts", *overrides)
    assert not (tmp_path / "parts" / "result.json").exists()
    reached = checkpoint.load(tmp_path / "parts" / "checkpoint.pt")
    assert 19 < reached["evaluations"] < 29
    train(compose, tmp_path / "parts", *overrides)
    a, b = (checkpoint.load(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts"))
    for index, state in a["optimizer"]["state"].items():
        for key, value in state.items():
            assert torch.equal(value, b["optimizer"]["state"][index][key]), key
    assert a["optimizer"]["param_groups"] == b["optimizer"]["param_groups"]
    curves = [scalars(tmp_path / name / "tensorboard") for name in ("whole", "parts")]
    assert curves[0] == curves[1]
    assert_same(tmp_path / "whole", tmp_path / "parts")


def test_a_run_writes_what_it_promises(compose: Compose, tmp_path: Path) -> None:
    result = train(compose, tmp_path, "dataset.validation=50", "optimizer.inner_steps=4", "schedule=cosine")
    names = {path.name for path in tmp_path.iterdir()} - {".lock"}
    assert names == {
        "config.yaml", "provenance.json", "metrics.jsonl", "tensorboard", "checkpoint.pt", "checkpoint.previous.pt",
        "result.json", "train.log", "overrides.yaml", "model.json", "confusion.png",
    }  # fmt: skip
    assert json.loads((tmp_path / "result.json").read_text()) == result
    assert result.keys() >= {
        "dataset", "model", "optimizer", "seed", "epochs", "gradient_evaluations", "outer_steps", "parameters",
        "train_loss", "test_loss", "test_error", "validation_error", "seconds", "images_per_second", "device",
    }  # fmt: skip
    assert (result["gradient_evaluations"], result["outer_steps"], result["budget"]) == (36, 9, 37)
    assert result["parameters"] == 131_220
    assert (result["training_images"], result["test_images"], result["validation_images"]) == (200, 360, 50)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {record["kind"] for record in records} == {"train", "training", "test", "validation"}
    for kind, split in {"test": "test", "validation": "validation", "training": "train"}.items():  # of x
        scored = [record for record in records if record["kind"] == kind]
        assert [record["outer_steps"] for record in scored] == [8, 9]
        assert (scored[-1]["error"], scored[-1]["loss"]) == (result[f"{split}_error"], result[f"{split}_loss"])
    matrix = torch.tensor(result["test_confusion"])
    assert matrix.sum(1).tolist() == [36] * 10  # the digits' test images are balanced
    assert 100 * (1 - matrix.diagonal().sum().item() / 360) == pytest.approx(result["test_error"])
    assert result["test_balanced_error"] == pytest.approx(result["test_error"])
    assert list(result["test_class_errors"]) == [str(digit) for digit in range(10)]
    assert "notes" not in result
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["optimizer"]["seed"] == 0
    assert "test error" in (tmp_path / "train.log").read_text()

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert tags >= {
        "train/inner_loss", "train/lr", "train/gamma", "train/direction_norm",
        "test/loss", "test/error", "validation/loss", "validation/error", "training/loss", "training/error",
    }  # fmt: skip
    assert [event.step for event in events.Scalars("test/error")][-1] == 36
    lrs = [event.value for event in events.Scalars("train/lr")]
    assert lrs == sorted(lrs, reverse=True)
    assert lrs[-1] < lrs[0]
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_a_task_of_the_users_own_is_told_of_by_its_own_score(compose: Compose, tmp_path: Path) -> None:
    quick = ["task.name=tests.accuracy:Accuracy", "epochs=1", "optimizer=sgd", "dataset.validation=50"]
    result = train(compose, tmp_path, *quick)
    assert result["test_accuracy"] > 0.5
    assert result.keys() >= {"validation_accuracy", "examples", "examples_per_second"}
    assert not {"test_error", "validation_error", "training_images"} & result.keys()
    closing = (tmp_path / "train.log").read_text().splitlines()[-1]
    assert f" test accuracy {result['test_accuracy']:.3f}  {result['gradient_evaluations']} gradient eval" in closing
    assert train(compose, tmp_path, *quick) == result


def test_the_closing_line_has_name_unit_and_decimals_of_the_first_score(tmp_path: Path) -> None:
    counts = {"gradient_evaluations": 100, "seconds": 2.04}
    line = closing_line({"test_error": 12.5, **counts}, RunDirectory(Path("a")))
    assert line == "test error 12.50 %  100 gradient evaluations  2.0 s  a"
    fit = RunDirectory(write_fit(tmp_path, "sgd", 0, 0.5))
    line = closing_line({"test_r2": float("nan"), **counts}, fit)
    assert line == f"test r2 nan  100 gradient evaluations  2.0 s  {fit.shown()}"


def test_errors_by_class_and_notes_are_told(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    errors = {"cat": 12.5, "dog": None, "owl": 50.0}
    line = class_line({"test_class_errors": errors, "test_balanced_error": 31.25})
    assert line == "error by class (confusion.png): mean 31.25 %, largest 50.00 % of class owl"
    note = "the test error equals that of always answering cat"
    _show_told({"notes": [note], "test_error_best": 3.25, "best_passes": 2.5}, RunDirectory(tmp_path))
    assert caplog.messages == ["weights=best: test error 3.25 % (pass 2.5)", note]


def test_a_finished_run_is_skipped_and_force_restarts_it(compose: Compose, tmp_path: Path) -> None:
    quick = ["epochs=1", "optimizer=sgd"]
    first = train(compose, tmp_path, *quick)
    assert train(compose, tmp_path, *quick) == first
    again = train(compose, tmp_path, *quick, "force=true")
    assert again["seconds"] != first["seconds"]
    assert again["test_loss"] == first["test_loss"]
    with pytest.raises(
        UserError, match=r"another configuration \(optimizer.lr is 0\.1 there and 0\.3 here\): force=true"
    ):
        train(compose, tmp_path, *quick, "optimizer.lr=0.3")


def test_the_result_depends_on_the_seed_and_on_nothing_that_has_no_effect(compose: Compose, tmp_path: Path) -> None:
    quick = ["epochs=1", "optimizer=heat"]
    base = train(compose, tmp_path / "a", *quick)
    torch.manual_seed(77)
    other = ["train.record_every=0.1", "train.checkpoint_every=0.1", "hardware.device=cpu"]
    assert train(compose, tmp_path / "b", *quick, *other)["test_loss"] == base["test_loss"]
    assert train(compose, tmp_path / "c", *quick, "seed=1")["test_loss"] != base["test_loss"]


def test_bfloat16_trains(compose: Compose, tmp_path: Path) -> None:
    result = train(compose, tmp_path, "epochs=2", "optimizer=sgd", "hardware.precision=bfloat16", "model=mlp")
    assert result["test_error"] < 60


def test_interrupted_before_the_first_checkpoint_nothing_shows_twice(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ["optimizer=sgd", "train.evaluate_every=100", "train.record_every=0.3"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20)
        with pytest.raises(KeyboardInterrupt):
            train(compose, tmp_path, *overrides)
    train(compose, tmp_path, *overrides)
    steps = [step for step, _ in scalars(tmp_path / "tensorboard")["train/inner_loss"]]
    assert steps == sorted(set(steps))
