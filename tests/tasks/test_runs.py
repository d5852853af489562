"""Every shipped task from the command line: all optimizers, two ranks, resumed bit for bit, evaluated again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from deeprelax import tasks
from deeprelax.records import checkpoint
from tests.hooks import interrupt_at
from tests.optimizers import CHOICES, KINDS
from tests.quick import assert_same, directory, finish, kill_after

Command = Callable[..., tuple[int, str, str]]
Compose = Callable[..., DictConfig]
SHORT = ["hardware.threads=1", "hardware.device=cpu", "train.bn_batches=2", "epochs=6"]
TASKS = {
    "classification": [
        "model=odenet", "dataset=digits", "recipe=sensing", "batch_size=20", "dataset.image_size=8",
        "dataset.train_size=80", "dataset.validation=20", "model.width=4", "model.steps=2", "model.knots=2",
    ],
    "regression": ["batch_size=32", "task.validation=50"],
    "diagonal": ["batch_size=10", "task.noise=0.5", "model.scale=0.1"],
    "matrix_sensing": ["batch_size=20", "task.size=6", "model.rank=6", "model.scale=0.3"],
    "pinn": [
        "recipe=sensing", "batch_size=20", "task.points=60", "task.adaptive=0.5", "task.adapt_every=2",
        "model.hidden=8",
        "task.coefficient=0.01", "task.initial_weight=0.1", "task.boundary_weight=0.1",  # for the rates that all take
    ],
    "estimation": [
        "recipe=sensing", "batch_size=20", "task.points=60", "task.warmup=1", "task.prune_at=[2,4]",
        "hardware.precision=float64", "model.hidden=8",
    ],
    "symbolic": [
        "recipe=sensing", "batch_size=20", "task.points=60", "task.harden_after=3", "hardware.precision=float64",
        "task.condition_weight=0.1", "model.spread=0.1",  # for the rates that all take
    ],
    "bayesian": [
        "batch_size=20", "dataset.image_size=8", "dataset.train_size=80", "dataset.validation=20", "model.width=4",
        "model.hidden=5", "model.steps=3", "model.drift_hidden=4", "task.paths=2", "recipe=sensing",
    ],
    "tokens": [
        "recipe=sensing", "batch_size=20", "task.characters=1100", "task.context=16", "model.width=8", "model.depth=1",
        "model.heads=2", "model.dropout=0.1",
    ],
}  # fmt: skip
METRICS = {
    "classification": {"error"},
    "regression": {"rmse", "r2"},
    "diagonal": {"error"},
    "matrix_sensing": {"error"},
    "pinn": {"relative_l2", "residual", "initial", "boundary"},
    "estimation": {"coefficient_error", "misfit", "residual", "relative_l2"},
    "symbolic": {"exact", "residual", "conditions", "relative_l2"},
    "bayesian": {"error", "ece", "nll", "auroc", "divergence"},
    "tokens": {"bits", "accuracy"},
}


@pytest.mark.parametrize("task", tasks.CHOICES)
def test_the_task_alone_trains(task: str, deeprelax: Command) -> None:
    length = ["epochs=1"] if task in ("pinn", "symbolic", "bayesian") else ["epochs=40"]  # a pass is many gradients
    length = ["epochs=1", "task.characters=10000"] if task == "tokens" else length
    status, _, err = deeprelax("train", f"task={task}", "hardware.threads=1", *length)
    assert (status, err) == (0, "")
    assert json.loads((directory() / "result.json").read_text())["test_loss"] < 10


def test_what_a_task_without_images_tells(deeprelax: Command) -> None:
    status, out, err = deeprelax("train", "task=regression", "hardware.threads=1")
    assert (status, err) == (0, "")
    assert "dense on regression with entropy_sgd: 60 passes over 354 examples" in out
    assert "test rmse " in out
    result = json.loads((directory() / "result.json").read_text())
    assert (result["dataset"], result["model"], result["examples"]) == ("none", "dense", 354)


@pytest.mark.parametrize(
    ("task", "optimizer"),
    [
        pytest.param(task, name, marks=() if task == "classification" or name in KINDS else pytest.mark.slow)
        for task in TASKS
        for name in CHOICES
    ],
)
def test_every_optimizer_trains_it_and_resumes_bit_for_bit(
    task: str, optimizer: str, deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ["train", *SHORT, f"task={task}", *TASKS[task], f"optimizer={optimizer}", *CHOICES[optimizer]]
    run += ["train.checkpoint_every=1", "optimizer.lr=0.02"]
    assert deeprelax(*run, "output_dir=whole")[0] == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, 14)
        assert deeprelax(*run, "output_dir=parts")[0] == 130
    assert 0 < checkpoint.load(directory("parts") / checkpoint.NAME)["evaluations"] < 14
    status, out, err = deeprelax(*run, "output_dir=parts")
    assert (status, err) == (0, "")
    assert "resuming from pass" in out
    assert_same(directory("whole"), directory("parts"))
    result = json.loads((directory("whole") / "result.json").read_text())
    splits = {"test", "validation"} if task in ("classification", "regression", "bayesian") else {"test"}
    more = ("_images", "_balanced_error", "_class_errors", "_confusion")
    assert {key for key in result if key.partition("_")[0] in splits and not key.endswith(more)} == {
        f"{split}_{name}" for split in splits for name in {"loss", *METRICS[task]}
    }
    assert deeprelax("evaluate", str(directory("whole")))[1].endswith("as in result.json\n")


@pytest.mark.parametrize(
    "task", [name if name == "diagonal" else pytest.param(name, marks=pytest.mark.slow) for name in TASKS]
)
@pytest.mark.parametrize("share", [pytest.param("data", marks=pytest.mark.slow), "chains"])
def test_two_ranks_train_it(task: str, share: str, deeprelax: Command) -> None:
    """Shared batches follow one rank up to rounding, for nothing in these networks knows the batch.

    But for random weights and dropout, which each rank draws for itself.
    """
    run = ["train", *SHORT, f"task={task}", *TASKS[task], "optimizer=heat", "optimizer.samples=2", "optimizer.lr=0.02"]
    status, _, err = deeprelax(*run, "hardware.devices=2", f"hardware.share={share}", "output_dir=two")
    if task == "estimation" and share == "data":  # its loss is no mean over examples
        assert (status, err.count("\n")) == (1, 1), err
        assert "hardware.share=chains" in err
        return
    assert (status, err) == (0, "")
    assert deeprelax(*run, "output_dir=one")[0] == 0
    two, one = (json.loads((directory(name) / "result.json").read_text()) for name in ("two", "one"))
    assert two["ranks"] == 2
    near = 1e-4 if share == "data" else 1e-9
    same = share == "data" and task not in ("bayesian", "tokens")
    assert (two["test_loss"] == pytest.approx(one["test_loss"], rel=near if same else 1e-9)) == same
    assert deeprelax("evaluate", str(directory("two")))[1].endswith("as in result.json\n")


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("task", TASKS)
def test_it_is_killed_and_resumes_bit_for_bit(task: str, devices: int) -> None:
    run = [*SHORT, f"task={task}", *TASKS[task], "optimizer=heat", "optimizer.lr=0.02", "train.checkpoint_every=0.2"]
    run += [f"hardware.devices={devices}", "epochs=60", "train.record_every=0.5", "train.evaluate_every=20"]
    run += ["hardware.share=chains"] if task == "estimation" and devices == 2 else []
    for delay in (0.05, 0.3, 1.0):
        kill_after(delay, *run, "output_dir=killed")
    assert_same(finish(*run, "output_dir=whole"), finish(*run, "output_dir=killed"))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "bayesian", "tokens"])
def test_bfloat16_and_compiled(task: str, deeprelax: Command) -> None:
    """Compiled code draws other random numbers, so weights and dropout of random networks are others.

    By SGD, for AdamW divides small gradients by their size, and so makes much of rounding.
    """
    found = {}
    run = ["train", *SHORT, f"task={task}", *TASKS[task], "optimizer=sgd", "optimizer.lr=0.02"]
    for name, word in (("plain", "precision=float32"), ("half", "precision=bfloat16"), ("compiled", "compile=true")):
        status, _, err = deeprelax(*run, f"hardware.{word}", f"output_dir={name}")
        assert status == 0, err
        found[name] = json.loads((directory(name) / "result.json").read_text())["test_loss"]
    plain, half, compiled = found.values()
    assert half == pytest.approx(plain, rel=0.02)
    assert half != plain
    assert compiled == pytest.approx(plain, rel=1e-4 if task == "classification" else 0.1)


def test_a_choice_on_the_command_line_wins_over_the_tasks(compose: Compose, tmp_path: Path, deeprelax: Command) -> None:
    assert [compose("task=diagonal")[group].name for group in ("task", "model", "dataset")] == [
        "diagonal", "diagonal", "none",
    ]  # fmt: skip
    assert compose("task=diagonal", "model=dense").model.name == "dense"
    assert compose("model=dense", "task=diagonal").model.name == "dense"
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /task: diagonal\n  - override /model: dense\n"
        "epochs: 1\ntask:\n  noise: 0.25\n"
    )
    (folder / "bare.yaml").write_text("# @package _global_\ndefaults:\n  - override /task: diagonal\nepochs: 1\n")
    shown = ["train", "--config-dir", str(tmp_path / "mine"), "--cfg", "job"]
    status, out, _ = deeprelax(*shown, "experiment=own")
    assert status == 0
    assert "task:\n  name: diagonal\n" in out
    assert "  noise: 0.25\n" in out
    assert "model:\n  name: dense\n" in out
    assert "dataset:\n  name: none\n" in out
    assert "model:\n  name: diagonal\n" in deeprelax(*shown, "experiment=bare")[1]
    assert "model:\n  name: factor\n" in deeprelax(*shown, "experiment=own", "model=factor")[1]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["task=regression", "model=lenet"],
            "model=lenet takes channels, image_size, classes; task=regression gives inputs, outputs: "
            "take another model, as model=dense",
        ),
        (
            ["model=dense"],
            "model=dense takes inputs, outputs; task=classification gives channels, image_size, classes: "
            "take another model, as model=all_cnn",
        ),
        (
            ["task=matrix_sensing", "model=dense"],
            "model=dense takes inputs, outputs; task=matrix_sensing gives size: take another model, as model=factor",
        ),
        (["task=regression", "dataset=digits"], "task=regression has data of its own: leave dataset=digits out"),
        (["dataset=none"], "task=classification needs images: choose a dataset, as dataset=mnist"),
        (
            ["task=regression", "dataset.train_size=9"],
            "dataset.train_size=9 is out of range: it must be null, for dataset=none has no images",
        ),
        (
            ["task=regression", "dataset.validation=9"],
            "dataset.validation=9 is out of range: it must be 0, for dataset",
        ),
        (["task=diagonal", "task.noise=-1"], "task.noise=-1.0 is out of range: it must be a finite number >= 0"),
        (
            ["task=regression", "task.noise=1"],
            "task.noise is not a key: the keys of task=regression are name, options, validation",
        ),
        (
            ["task=regresion"],
            "task=regresion is not a choice (did you mean regression?): one of bayesian, classification, custom, ",
        ),
        (
            ["task.name=diagonal"],
            "task.name=diagonal does not go with the keys of the choice made: write task=diagonal",
        ),
        (["dataset.name=none"], "dataset.name=none does not go with the keys of the choice made: write dataset=none"),
        (["task=custom"], "task.name has no value: give one as task.name=VALUE"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(overrides: list[str], message: str, deeprelax: Command) -> None:
    status, _, err = deeprelax("train", "hardware.threads=1", *overrides)
    assert status == 1
    assert err.startswith(f"deeprelax: {message}")
    assert err.count("\n") == 1
