"""Runs of optimizer=lbfgs: one function, never more than the budget, exact resumption, refusals, steps that fail."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from deeprelax.errors import Stopped, UserError
from deeprelax.parallel import signals
from deeprelax.records import checkpoint
from deeprelax.tasks.classification import Classification
from tests.hooks import before, before_each, interrupt_at, spoil
from tests.optim.functions import flat
from tests.quick import LONGER, QUICK, assert_same, finish, kill_after, train

Command = Callable[..., tuple[int, str, str]]
Compose = Callable[..., DictConfig]
# all training images in a batch, and short steps of which none is idle; dropout and batch norm are on
FULL = [
    "optimizer=lbfgs", "optimizer.max_iter=2", "dataset.train_size=60", "batch_size=60", "epochs=40",
    "train.evaluate_every=20",
]  # fmt: skip


def records(directory: Path, kind: str = "train") -> list[dict[str, Any]]:
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def assert_same_optimizer(one: Path, other: Path) -> None:
    a, b = (checkpoint.load(directory / checkpoint.NAME)["optimizer"] for directory in (one, other))
    assert flat(a) == flat(b)
    assert len(a["state"][0]["old_dirs"]) > 1


@pytest.mark.parametrize("epochs", [2, 3, 5, 26, 27, 40])
def test_never_more_gradients_than_the_budget_and_each_of_batch_0(
    epochs: int, compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    drawn: list[int] = []
    draw = Classification.draw
    monkeypatch.setattr(Classification, "draw", lambda self, k: (drawn.append(k), draw(self, k))[1])
    before_each(monkeypatch, lambda objective: calls.append(objective.evaluations))
    result = train(compose, tmp_path, *FULL, "optimizer.max_iter=20", f"epochs={epochs}", "train.record_every=1")
    assert calls == list(range(result["gradient_evaluations"]))
    assert drawn[: len(calls)] == [0] * len(calls)  # the rest are for batch norm and the training scores
    assert epochs - 1 <= result["gradient_evaluations"] <= epochs == result["budget"]
    assert [r["outer_steps"] for r in records(tmp_path)] == list(range(1, result["outer_steps"] + 1))
    assert records(tmp_path)[-1]["gradient_evaluations"] == records(tmp_path, "test")[-1]["gradient_evaluations"]
    assert records(tmp_path)[0]["gradient_evaluations"] <= 26


def test_records_evaluations_and_checkpoints_go_by_the_count(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *a: (saved.append(a[1]["evaluations"]), save(*a)))
    train(compose, tmp_path, *FULL, "train.record_every=1", "train.evaluate_every=10", "train.checkpoint_every=4")
    ends = [r["gradient_evaluations"] for r in records(tmp_path)]  # of all steps

    def crossing(every: int) -> list[int]:
        pairs = zip([0, *ends], ends, strict=False)
        return [now for before, now in pairs if now // every > before // every or now == ends[-1]]

    evaluated = [r["gradient_evaluations"] for r in records(tmp_path, "test")]
    assert evaluated == crossing(10)
    assert saved == sorted({*evaluated, *crossing(4)})


def test_what_the_log_says(compose: Compose, tmp_path: Path) -> None:
    train(compose, tmp_path / "all", *FULL)
    text = (tmp_path / "all" / "train.log").read_text()
    assert "40 passes over 60 images = 40 gradient evaluations of 60 images, outer steps of 3 at most" in text
    assert "WARNING" not in text
    train(compose, tmp_path / "some", "optimizer=lbfgs", "epochs=2")
    assert (
        "f is the loss of batch 0 alone, 32 of 200 images: batch_size=200 takes all"
        in (tmp_path / "some" / "train.log").read_text()
    )


@pytest.mark.parametrize("at", [14, 23])
def test_an_interrupted_run_resumes_bit_for_bit(
    at: int, compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a step, wherever; the schedule sets another lr at each step."""
    run = [*FULL, "train.checkpoint_every=1", "train.evaluate_every=9", "train.record_every=4", "schedule=cosine"]
    train(compose, tmp_path / "whole", *run)
    with monkeypatch.context() as patch:
        interrupt_at(patch, at)
        with pytest.raises(KeyboardInterrupt):
            train(compose, tmp_path / "parts", *run)
    assert at - 3 <= checkpoint.load(tmp_path / "parts" / checkpoint.NAME)["evaluations"] <= at
    train(compose, tmp_path / "parts", *run)
    assert_same(tmp_path / "whole", tmp_path / "parts")
    assert_same_optimizer(tmp_path / "whole", tmp_path / "parts")
    rates = [r["lr"] for r in records(tmp_path / "whole")]
    assert rates == sorted(rates, reverse=True)
    assert len(set(rates)) == len(rates)


def test_a_step_that_a_stop_aborts_leaves_no_trace(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = [*FULL, "train.checkpoint_every=1", "train.record_every=1", "train.evaluate_every=50"]
    train(compose, tmp_path / "whole", *run)
    ends = [r["gradient_evaluations"] for r in records(tmp_path / "whole")]
    with monkeypatch.context() as patch:
        patch.setattr(signals, "PATIENCE", 0.0)
        before(patch, ends[4] + 1, lambda objective: os.kill(os.getpid(), signal.SIGTERM))  # the second call of a step
        with pytest.raises(Stopped) as stopped:
            train(compose, tmp_path / "parts", *run)
    assert stopped.value.status == 143
    last, earlier = (checkpoint.load(tmp_path / "parts" / name) for name in (checkpoint.NAME, checkpoint.PREVIOUS))
    assert last["evaluations"] == earlier["evaluations"] == ends[4]
    assert flat(last["optimizer"]) == flat(earlier["optimizer"])
    assert all(torch.equal(value, earlier["model"][key]) for key, value in last["model"].items())
    train(compose, tmp_path / "parts", *run)
    assert_same(tmp_path / "whole", tmp_path / "parts")
    assert_same_optimizer(tmp_path / "whole", tmp_path / "parts")


def test_a_step_that_is_not_finite_ends_the_run_or_is_skipped(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = [*FULL, "train.checkpoint_every=1"]
    with monkeypatch.context() as patch:
        spoil(patch, [13])
        with pytest.raises(
            UserError, match=r"outer step \d+ \(pass .*\): the loss or its direction is not finite .*lr"
        ):
            train(compose, tmp_path / "stop", *run)
        assert checkpoint.load(tmp_path / "stop" / checkpoint.NAME)["evaluations"] <= 13
        skipped = train(compose, tmp_path / "skip", *run, "train.on_nonfinite=skip", "train.record_every=1")
    assert skipped["skipped_steps"] == 1
    assert skipped["gradient_evaluations"] <= 40
    assert "not finite, skipped" in (tmp_path / "skip" / "train.log").read_text()
    found = records(tmp_path / "skip")
    (bad,) = [i for i, r in enumerate(found) if r["gradient_evaluations"] == 14]
    assert "direction_norm" not in found[bad]
    # the next step begins where the bad one did, with batch norm's statistics of that time
    assert found[bad + 1]["inner_loss"] < found[bad - 1]["inner_loss"]
    train(compose, tmp_path / "stop", *run)  # what was spoiled once is not any more
    whole = train(compose, tmp_path / "whole", *run)
    assert whole["skipped_steps"] == 0
    assert_same(tmp_path / "whole", tmp_path / "stop")


def test_a_longer_run_says_that_it_is_not_one_run(deeprelax: Command) -> None:
    run = ["train", *QUICK, *FULL]
    assert deeprelax(*run, "output_dir=short")[0] == 0
    (directory,) = (file.parent for file in Path("short").rglob("config.yaml"))
    status, out, err = deeprelax(*run, "epochs=60", f"continue_from={directory}", "output_dir=long")
    assert (status, err) == (0, "")
    assert "of a run of 40, whose last step was cut to its budget: not the same as one of 60" in out
    (file,) = Path("long").rglob("result.json")
    assert 40 < json.loads(file.read_text())["gradient_evaluations"] <= 60


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["hardware.devices=2"],
            "2 ranks with optimizer=lbfgs, whose line search runs on one rank: set hardware.devices=1",
        ),
        (
            ["hardware.share=chains"],
            "hardware.share=chains needs an inner chain, and lbfgs has none: use hardware.share=data",
        ),
        (
            ["hardware.cuda_graphs=true"],
            "hardware.cuda_graphs=true replays steps that are all alike, and those of optimizer=lbfgs are not: "
            "leave it out",
        ),
        (
            ["epochs=0.001"],
            "epochs=0.001 allows 1 gradient evaluation, and a step of this optimizer needs 2: raise epochs",
        ),
        (["optimizer.lr=-1"], "optimizer.lr=-1.0 is out of range: it must be a number >= 0 and at most 3.4e+38"),
        (["optimizer.max_eval=0"], "optimizer.max_eval=0 is out of range: it must be an integer >= 1, or null"),
        (
            ["optimizer.tolerance_change=0"],
            "optimizer.tolerance_change=0.0 is out of range: it must be a number > 0 and at most 3.4e+38",
        ),
    ],
)
def test_what_it_refuses(overrides: list[str], message: str, deeprelax: Command) -> None:
    status, _, err = deeprelax("train", "optimizer=lbfgs", "hardware.device=cpu", *overrides)
    assert (status, err) == (1, f"deeprelax: {message}\n")


def test_what_is_written_for_null_and_read_again(deeprelax: Command) -> None:
    run = ["train", *QUICK, "optimizer=lbfgs", "optimizer.max_iter=1", "epochs=2"]
    assert deeprelax(*run)[0] == 0
    (directory,) = (file.parent for file in Path("outputs").rglob("config.yaml"))
    assert "max_eval: null" in (directory / "config.yaml").read_text()
    assert deeprelax("evaluate", str(directory))[1].endswith("as in result.json\n")
    assert "finished before" in deeprelax(*run)[1]


@pytest.mark.slow
def test_killed_at_random_moments() -> None:
    run = [*LONGER, "optimizer=lbfgs", "optimizer.max_iter=2", "batch_size=400", "epochs=90"]
    moments = random.Random("lbfgs")
    for _ in range(3):
        kill_after(moments.uniform(0.0, 1.5), *run, "output_dir=killed")
    killed, whole = finish(*run, "output_dir=killed"), finish(*run, "output_dir=whole")
    assert_same(killed, whole)
    assert_same_optimizer(killed, whole)
