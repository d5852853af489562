"""Runs with a mean beside x or the best weights kept: resumed, continued, on one rank and on two."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deeprelax.parallel.ranks import SOLO
from deeprelax.records import checkpoint
from deeprelax.runs.restored import restored
from deeprelax.training.evaluation import scores
from deeprelax.training.objective import Autocast
from tests.hooks import interrupt_at, spoil
from tests.quick import LONGER, QUICK, RUN, assert_same, contents, directory, finish, kill_after, scalars
from tests.runs.beside import ALL, HELD_OUT, RULES, result, state

Command = Callable[..., tuple[int, str, str]]


def same_beside(one: str, other: str) -> None:
    """Are the mean and the best weights of two runs equal bit for bit?"""
    a, b = state(one), state(other)
    assert a["average"].keys() == b["average"].keys()
    for part in ("mean", "buffers"):
        mine, theirs = a["average"][part], b["average"][part]
        assert mine.keys() == theirs.keys() != set()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert [a["average"][key] for key in ("count", "since")] == [b["average"][key] for key in ("count", "since")]
    assert a["best"] == b["best"]
    if a["best"] is not None:
        at = a["best"]["found"]["evaluations"]
        weights = [checkpoint.kept_best(directory(root))[at][1]["model"] for root in (one, other)]
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("rule", RULES)
def test_what_is_beside_x_moves_no_number_of_it(rule: str, deeprelax: Command) -> None:
    """Dropout and batch norm are in the network."""
    plain = [*RUN, HELD_OUT, "train.evaluate_every=1"]
    assert deeprelax(*plain, "output_dir=plain")[0] == 0
    assert deeprelax(*plain, *RULES[rule], "train.keep=best", "output_dir=beside")[0] == 0
    weights, records, numbers = contents(directory("plain"))
    weights_too, records_too, numbers_too = contents(directory("beside"))
    assert all(torch.equal(value, weights_too[name]) for name, value in weights.items())
    more = [{key: value for key, value in each.items() if not key.endswith("_average")} for each in records_too]
    assert more == records
    assert numbers.items() <= numbers_too.items()
    assert numbers_too["gradient_evaluations"] == numbers["gradient_evaluations"] == 37
    assert {key for key in numbers_too.keys() - numbers.keys() if key.startswith("test")} == {
        "test_error_average", "test_loss_average", "test_error_best", "test_loss_best",
    }  # fmt: skip
    shown = scalars(directory("beside") / "tensorboard")
    assert shown["test/error_average"][-1] == (37, pytest.approx(numbers_too["test_error_average"]))


@pytest.mark.parametrize(("rule", "optimizer"), [("ema", "entropy_sgd"), ("swa", "sgd"), ("lawa", "entropy_sgd")])
def test_an_interrupted_run_resumes_bit_for_bit(
    rule: str, optimizer: str, deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ["train", *QUICK, f"optimizer={optimizer}", *RULES[rule], "train.keep=best", HELD_OUT]
    run += ["train.evaluate_every=2", "train.checkpoint_every=0.3", "dataset.augment=flip_crop"]
    run += ["optimizer.inner_steps=3"] if optimizer == "entropy_sgd" else []
    for at in (9, 26):
        with monkeypatch.context() as patch:
            interrupt_at(patch, at)
            assert deeprelax(*run, "output_dir=cut")[0] == 130
    assert deeprelax(*run, "output_dir=cut")[0] == 0
    assert deeprelax(*run, "output_dir=whole")[0] == 0
    assert_same(directory("cut"), directory("whole"))
    same_beside("cut", "whole")


def test_killed_between_the_best_weights_and_their_checkpoint(
    deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice: what the checkpoint refers to is in the file before, and must not be replaced when it is written again."""
    run = [*RUN, *ALL]
    assert deeprelax(*run, "output_dir=whole")[0] == 0
    records = [json.loads(line) for line in (directory("whole") / "metrics.jsonl").read_text().splitlines()]
    errors = {each["gradient_evaluations"]: each["error"] for each in records if each["kind"] == "validation"}
    better = [at for at, error in errors.items() if error < min([e for n, e in errors.items() if n < at], default=101)]
    assert len(better) > 1
    save = checkpoint.save_best

    def save_and_die(folder: Path, model: torch.nn.Module, evaluations: int) -> None:
        save(folder, model, evaluations)
        if evaluations == better[1]:
            raise KeyboardInterrupt

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "save_best", save_and_die)
            assert deeprelax(*run, "output_dir=cut")[0] == 130
        found = state("cut")["best"]["found"]["evaluations"]
        assert found == better[0]
        assert set(checkpoint.kept_best(directory("cut"))) == {better[0], better[1]}
        assert deeprelax("evaluate", str(directory("cut")), "weights=best")[1].count(f"after {found} gradient") == 1
    assert deeprelax(*run, "output_dir=cut")[0] == 0
    assert_same(directory("cut"), directory("whole"))
    same_beside("cut", "whole")
    (directory("cut") / "result.json").unlink()
    for file in directory("cut").glob("best*.pt"):
        file.write_bytes(b"something else")
    status, _, err = deeprelax(*run, "output_dir=cut")
    assert (status, err.count("\n")) == (1, 1)
    assert "best.pt is missing or corrupt, and the checkpoint refers to it: put it back, or start" in err


def test_a_step_that_is_skipped_counts_and_leaves_the_mean_finite(
    deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """x stays where it is, and is taken into the mean again."""
    spoil(monkeypatch, {3, 20})
    assert deeprelax(*RUN, *RULES["ema"], "train.on_nonfinite=skip")[0] == 0
    assert (result("outputs")["skipped_steps"], state("outputs")["average"]["count"]) == (2, 37)
    assert all(torch.isfinite(value).all() for value in state("outputs")["average"]["mean"].values())


def test_what_is_frozen_is_in_no_mean_and_groups_are(deeprelax: Command) -> None:
    groups = ["model.freeze=[0.*]", "optimizer.groups=[{match: '*.bias', lr: 0.01}]"]
    assert deeprelax(*RUN, *RULES["lawa"], *groups, "epochs=2")[0] == 0
    found = state("outputs")
    trained = {name for name in found["model"] if name.endswith(("weight", "bias")) and not name.startswith("0.")}
    assert found["average"]["mean"].keys() == trained
    assert len(trained) < len([name for name in found["model"] if name.endswith(("weight", "bias"))])


@pytest.mark.parametrize("rule", ["ema", "lawa"])
def test_a_run_made_longer_continues_its_mean_and_its_best(rule: str, deeprelax: Command) -> None:
    run = [*RUN, *RULES[rule], "train.keep=best", HELD_OUT, "train.evaluate_every=3"]
    assert deeprelax(*run, "output_dir=short")[0] == 0
    before = {file.name: file.read_bytes() for file in directory("short").iterdir() if file.is_file()}
    assert deeprelax(*run, "epochs=9", f"continue_from={directory('short')}", "output_dir=longer")[0] == 0
    assert deeprelax(*run, "epochs=9", "output_dir=long")[0] == 0
    a, b = state("longer")["average"], state("long")["average"]
    assert all(torch.equal(value, b["mean"][name]) for name, value in a["mean"].items())
    assert a["count"] == b["count"]
    errors = result("short")["validation_error_best"], result("longer")["validation_error_best"]
    assert errors[1] <= errors[0]
    assert before == {file.name: file.read_bytes() for file in directory("short").iterdir() if file.is_file()}
    # as a new part, whose mean begins with it, and whose best is that of the chain
    part = [*run, "optimizer=entropy_sgd", "optimizer.inner_steps=2", "epochs=9", f"continue_from={directory('short')}"]
    assert deeprelax(*part, "optimizer.lr=1e-12", "output_dir=part")[0] == 0
    average = state("part")["average"]
    assert (average["since"], average["count"]) == ((37, 9) if rule == "ema" else (0, 6))
    best, last = (result("part")[f"validation_error{suffix}"] for suffix in ("_best", ""))
    assert best == errors[0] <= last
    assert deeprelax("evaluate", str(directory("part")), "weights=best")[1].endswith("as in result.json\n")


def test_a_finished_run_without_a_mean_can_be_continued_with_one(deeprelax: Command) -> None:
    assert deeprelax(*RUN, "output_dir=plain")[0] == 0
    more = ["train", "epochs=8", *RULES["swa"], f"continue_from={directory('plain')}"]
    status, out, err = deeprelax(*more, "output_dir=tail")
    assert (status, err) == (0, "")
    assert "of a run of 6, as one run of 8 would" in out
    assert state("tail")["average"]["count"] == 4  # passes 6.5, 7, 7.5, 8 of a tail from 4
    assert result("tail")["test_error_average"] >= 0


@pytest.mark.parametrize("rule", ["swa", "lawa"])
def test_a_longer_run_without_a_snapshot_of_its_own_is_refused(rule: str, deeprelax: Command) -> None:
    assert deeprelax(*RUN, "output_dir=plain")[0] == 0
    more = ["train", "epochs=6.5", f"train.average={rule}", f"continue_from={directory('plain')}", "output_dir=more"]
    status, _, err = deeprelax(*more)
    assert (status, err.count("\n")) == (1, 1)
    assert "passes, and there is none after pass 5.92 up to epochs=6.5: lower train.average_every\n" in err
    assert not [file for file in Path("more").rglob("*") if file.is_file()]
    assert deeprelax(*more, "train.average_every=0.25")[0] == 0
    assert state("more")["average"]["count"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("rule", RULES)
def test_killed_at_random_moments(rule: str, devices: int) -> None:
    run = [*LONGER, "optimizer=entropy_sgd", "optimizer.inner_steps=3", *RULES[rule], "train.keep=best", HELD_OUT]
    run += [f"hardware.devices={devices}", "hardware.share=chains", "train.evaluate_every=1"]
    moments = random.Random(f"{rule} {devices}")
    for _ in range(3):
        kill_after(moments.uniform(0.0, 3.0), *run, "output_dir=killed")
    assert_same(finish(*run, "output_dir=killed"), finish(*run, "output_dir=whole"))
    same_beside("killed", "whole")
    # a part of the training images was scored by each rank, with the mean that it held itself
    found = restored(directory("whole"), weights="average")
    chunks = found.task.statistics(2)
    alone = scores(found.task, found.model, chunks, Autocast("float32", found.device), SOLO, train=True)
    assert chunks.count == 2
    assert alone["train"]["loss"] == result("whole")["train_loss_average"]
