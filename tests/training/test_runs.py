"""Whole runs in this process: resumption, run directories, what is written, what stops a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from deeprelax.commands.evaluate import evaluate
from deeprelax.configuration.check import checked
from deeprelax.data.batches import Images
from deeprelax.errors import Stopped, UserError
from deeprelax.parallel.signals import Requests
from deeprelax.records import checkpoint
from deeprelax.runs.run import run
from tests.hooks import before_each, interrupt_at, spoil

Compose = Callable[..., DictConfig]
OPTIMIZERS = ["sgd", "entropy_sgd", "hj", "hj_proximal", "heat", "pde_relaxed"]
# dropout and batch norm are in LeNet
QUICK = ["hardware.threads=1", "dataset.train_size=200", "batch_size=32", "train.bn_batches=2", "epochs=6"]


def train(compose: Compose, directory: Path, *overrides: str) -> dict[str, object]:
    config = compose(*QUICK, *overrides)
    return run(checked(config), config, directory)


def without_times(text: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in line.items() if "second" not in k} for line in lines]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows: steps and values of each curve."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def few_steps(optimizer: str) -> list[str]:
    return ["optimizer.inner_steps=3"] if optimizer in ("entropy_sgd", "hj", "hj_proximal") else []


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_interrupted_run_goes_on_bit_for_bit(
    optimizer: str, compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy = ["optimizer.temperature=1e-6"] if optimizer in ("entropy_sgd", "pde_relaxed") else []
    overrides = [
        f"optimizer={optimizer}",
        *noisy,
        *few_steps(optimizer),
        "train.evaluate_every=3",
        "train.checkpoint_every=0.7",
    ]
    overrides += ["schedule=cosine", "train.record_every=1", "dataset.augment=flip_crop"]
    whole = train(compose, tmp_path / "whole", *overrides)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 29)  # pass 4.6: in the middle of a pass, between evaluations, records and checkpoints
        with pytest.raises(KeyboardInterrupt):
            train(compose, tmp_path / "parts", *overrides)
    assert not (tmp_path / "parts" / "result.json").exists()
    reached = checkpoint.load(tmp_path / "parts" / "checkpoint.pt")
    assert 19 < reached["evaluations"] < 29
    parts = train(compose, tmp_path / "parts", *overrides)
    a, b = (checkpoint.load(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts"))
    for key, value in a["model"].items():
        assert torch.equal(value, b["model"][key]), key
    for index, state in a["optimizer"]["state"].items():
        for key, value in state.items():
            assert torch.equal(value, b["optimizer"]["state"][index][key]), key
    assert a["optimizer"]["param_groups"] == b["optimizer"]["param_groups"]
    assert {k: v for k, v in whole.items() if "second" not in k} == {
        k: v for k, v in parts.items() if "second" not in k
    }
    curves = [scalars(tmp_path / name / "tensorboard") for name in ("whole", "parts")]
    assert curves[0] == curves[1]
    assert without_times((tmp_path / "whole" / "metrics.jsonl").read_text()) == without_times(
        (tmp_path / "parts" / "metrics.jsonl").read_text()
    )


def test_a_run_writes_what_it_promises(compose: Compose, tmp_path: Path) -> None:
    result = train(compose, tmp_path, "dataset.validation=50", "optimizer.inner_steps=4", "schedule=cosine")
    names = {path.name for path in tmp_path.iterdir()} - {".lock"}
    assert names == {
        "config.yaml", "provenance.json", "metrics.jsonl", "tensorboard", "checkpoint.pt", "checkpoint.previous.pt",
        "result.json", "train.log",
    }  # fmt: skip
    assert json.loads((tmp_path / "result.json").read_text()) == result
    assert result.keys() >= {
        "dataset", "model", "optimizer", "seed", "epochs", "gradient_evaluations", "outer_steps", "parameters",
        "train_loss", "test_loss", "test_error", "validation_error", "seconds", "images_per_second", "device",
    }  # fmt: skip
    assert (result["gradient_evaluations"], result["outer_steps"], result["budget"]) == (36, 9, 37)
    assert result["parameters"] == 131_220
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {record["kind"] for record in records} == {"train", "test", "validation"}
    last = [record for record in records if record["kind"] == "test"][-1]
    assert (last["error"], last["loss"]) == (result["test_error"], result["test_loss"])
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["optimizer"]["seed"] == 0
    assert "test error" in (tmp_path / "train.log").read_text()

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert tags >= {
        "train/inner_loss", "train/lr", "train/gamma", "train/direction_norm",
        "test/loss", "test/error", "validation/loss", "validation/error",
    }  # fmt: skip
    assert [event.step for event in events.Scalars("test/error")][-1] == 36
    lrs = [event.value for event in events.Scalars("train/lr")]
    assert lrs == sorted(lrs, reverse=True)
    assert lrs[-1] < lrs[0]
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_a_finished_run_is_left_alone_and_force_does_it_again(compose: Compose, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    optimizer: str, compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, [32])
    with pytest.raises(
        UserError, match=r"outer step \d+ \(pass .*\): the loss or its direction is not finite .*lr"
    ) as e:
        train(compose, tmp_path, f"optimizer={optimizer}", *few_steps(optimizer), "train.evaluate_every=2")
    assert "optimizer.lr" in str(e.value)
    good = checkpoint.load(tmp_path / "checkpoint.pt")
    assert good["evaluations"] < 33
    assert all(torch.isfinite(value).all() for value in good["model"].values())
    assert not (tmp_path / "result.json").exists()
    assert "not finite" in (tmp_path / "train.log").read_text()


def test_bfloat16_trains(compose: Compose, tmp_path: Path) -> None:
    result = train(compose, tmp_path, "epochs=2", "optimizer=sgd", "hardware.precision=bfloat16", "model=mlp")
    assert result["test_error"] < 60


def test_a_network_and_an_optimizer_of_the_users_own(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "from deeprelax.optim import SGD\n"
        "class Net(torch.nn.Sequential):\n"
        "    smallest_image = 5\n"
        "    def __init__(self, channels, image_size, classes, width=3):\n"
        "        super().__init__(torch.nn.Flatten(), torch.nn.Linear(channels * image_size**2, width),\n"
        "                         torch.nn.ReLU(), torch.nn.Linear(width, classes))\n"
        "class Mine(SGD):\n"
        "    pass\n"
        "def other(params):\n"
        "    return torch.optim.SGD(params)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    own = ["model=custom", "model.name=mine:Net", "++model.options.width=7", "epochs=1"]
    result = train(
        compose, tmp_path / "a", *own, "optimizer=custom", "optimizer.name=mine:Mine", "++optimizer.options.lr=0.3"
    )
    assert result["parameters"] == 784 * 7 + 7 + 7 * 10 + 10
    for wrong, message in [
        (["dataset.image_size=4"], "model=mine:Net takes images of 5 pixels or more, these have 4"),
        (["++model.options.depth=7"], "model.options: mine:Net does not take them: .*depth"),
        (["model.name=mine:Nett"], "model.name=mine:Nett: module mine has no Nett"),
        (["model.name=nowhere:Net"], "model.name=nowhere:Net: there is no module nowhere"),
        (["optimizer=custom", "optimizer.name=mine:other"], "is not a deeprelax.optim.Relaxation"),
        (
            ["optimizer=custom", "optimizer.name=mine:Mine", "++optimizer.options.lr=-1"],
            "optimizer: mine:Mine refuses its keys: lr must be a number >= 0 and at most 3.4e.38, not -1",
        ),
    ]:
        with pytest.raises(UserError, match=message):
            train(compose, tmp_path / "b", *own, *wrong, "force=true")


def test_images_too_small_for_the_network(compose: Compose, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="model=lenet takes images of 22 pixels or more, these have 8: set dataset"):
        train(compose, tmp_path, "dataset.image_size=8")


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


def test_force_removes_what_a_run_has_written_and_nothing_else(compose: Compose, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    train(compose, tmp_path, "epochs=1", "optimizer=sgd")
    train(compose, tmp_path, "epochs=1", "optimizer=sgd", "force=true")
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_other_training_data_are_noticed_on_resume(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ["optimizer=sgd", "train.checkpoint_every=1"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20)
        with pytest.raises(KeyboardInterrupt):
            train(compose, tmp_path, *overrides)
    monkeypatch.setattr(Images, "digest", lambda self: "changed")
    with pytest.raises(UserError, match=r"the data are not those that .* began with: put them back"):
        train(compose, tmp_path, *overrides)


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


def test_one_image_to_a_rank_and_batch_norm(compose: Compose, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="batch_size=1 leaves one image to a rank, and batch norm needs two"):
        train(compose, tmp_path, "batch_size=1")


def test_a_step_of_a_network_without_buffers_can_be_given_up(
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
    result = train(compose, tmp_path, f"optimizer={optimizer}", *few_steps(optimizer), "train.on_nonfinite=skip")
    assert result["skipped_steps"] == 2
    assert result["test_error"] < 50
    text = (tmp_path / "metrics.jsonl").read_text()
    assert "NaN" not in text
    assert json.loads([line for line in text.splitlines() if '"train"' in line][-1])["skipped"] == 2
    assert "outer step 9: not finite, left out" in (tmp_path / "train.log").read_text() or optimizer != "sgd"


@pytest.mark.parametrize(("cost", "expected"), [(0.0, [6, 12, 18, 24, 30, 36, 37]), (0.105, [6, 17, 28, 37])])
def test_checkpoints_by_the_clock_take_one_percent_at_most(
    cost: float, expected: list[int], compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    clock = [0.0]
    save = checkpoint.save

    def save_slowly(directory: Path, state: dict[str, Any]) -> None:
        saved.append(state["evaluations"])
        clock[0] += cost
        save(directory, state)

    monkeypatch.setattr(checkpoint, "save", save_slowly)
    before_each(monkeypatch, lambda objective: clock.append(clock.pop() + 1.0))  # an evaluation takes a second
    monkeypatch.setattr("deeprelax.training.cadence.time.monotonic", lambda: clock[0])
    train(compose, tmp_path, "optimizer=sgd", "train.evaluate_every=100", "train.checkpoint_seconds=5.5")
    assert saved == expected
