"""Chains: what a run with another optimizer takes from the one that it continues, and what it counts on from there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from deeprelax.commands import compare
from deeprelax.records import checkpoint
from deeprelax.training.objective import Objective
from tests.hooks import before_each, interrupt_at
from tests.quick import LONGER, QUICK, RUN, assert_same, directory, finish, kill_after

Command = Callable[..., tuple[int, str, str]]
EVALUATIONS = 37  # of 6 passes over 200 images in batches of 32
ENTROPY = ["optimizer=entropy_sgd", "optimizer.inner_steps=3"]


def result(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "result.json").read_text())
    return found


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_batches_and_counts_go_on(first: Path, deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[int] = []

    def note(objective: Objective) -> None:
        numbers.append(objective.evaluations)

    with monkeypatch.context() as patch:
        before_each(patch, note)
        given = [f"continue_from={first}", "epochs=9", *ENTROPY, "output_dir=second"]
        status, out, _ = deeprelax("train", *given)
    assert status == 0
    second = directory("second")
    # 9 passes are 56 evaluations; in the 19 that are left there are 6 outer steps of 3
    assert numbers == list(range(EVALUATIONS, EVALUATIONS + 18))
    assert "a new part, whose optimizer (entropy_sgd) begins without a state and whose schedule (constant)" in out
    found = result(second)
    assert (found["budget"], found["gradient_evaluations"], found["outer_steps"]) == (56, 55, EVALUATIONS + 6)
    assert found["chain"] == [
        {"optimizer": "sgd", "gradient_evaluations": EVALUATIONS, "outer_steps": EVALUATIONS},
        {"optimizer": "entropy_sgd", "gradient_evaluations": 18, "outer_steps": 6},
    ]
    assert found["seconds"] > result(first)["seconds"]
    assert (second / "metrics.jsonl").read_bytes().startswith((first / "metrics.jsonl").read_bytes())
    assert checkpoint.load(second / checkpoint.NAME)["optimizer"]["param_groups"][0]["outer_steps"] == 6
    assert "chain" not in result(first)
    assert "finished before" in deeprelax("train", *given)[1]


def test_the_state_is_kept_where_it_fits(first: Path, deeprelax: Command) -> None:
    """A step schedule that never acts is a new part all the same: it equals one long run, with the momentum of it."""
    given = [f"continue_from={first}", "epochs=9", "schedule=step", "schedule.milestones=[50]"]
    assert deeprelax("train", *given, "output_dir=second")[0] == 0
    assert deeprelax(*RUN, "train.record_every=1", "epochs=9", "output_dir=long")[0] == 0
    a, b = (checkpoint.load(directory(root) / checkpoint.NAME) for root in ("second", "long"))
    assert all(torch.equal(value, b["model"][key]) for key, value in a["model"].items())
    assert [part["optimizer"] for part in result(directory("second"))["chain"]] == ["sgd", "sgd"]
    slower = ["train", f"continue_from={first}", "epochs=9", "optimizer.lr=0.05", "output_dir=slower"]
    assert "whose optimizer (sgd) keeps its state" in deeprelax(*slower)[1]
    (group,) = checkpoint.load(directory("slower") / checkpoint.NAME)["optimizer"]["param_groups"]
    assert (group["lr"], group["initial_lr"], group["outer_steps"]) == (0.05, 0.05, 56)
    kept = deeprelax("train", *QUICK, *ENTROPY, "optimizer.inner_state=keep", "epochs=1", "output_dir=kept")
    assert kept[0] == 0
    reset = ["train", f"continue_from={directory('kept')}", "epochs=2", "optimizer.inner_state=reset"]
    assert "(entropy_sgd) begins without a state" in deeprelax(*reset, "output_dir=reset")[1]


def test_the_schedule_is_of_the_new_part(first: Path, deeprelax: Command) -> None:
    given = ["train", f"continue_from={first}", "epochs=12"]
    assert deeprelax(*given, "schedule=cosine", "schedule.factor=0.1", "output_dir=second")[0] == 0
    rates = [line["lr"] for line in records(directory("second"), "train") if line["passes"] > 5.92]
    start = EVALUATIONS * 32 / 200
    cosine = [0.01 + 0.09 * (1 + torch.tensor(torch.pi * (k * 0.16 - start) / (12 - start)).cos()) / 2
              for k in range(EVALUATIONS, 75)]  # fmt: skip
    assert rates[-1] == pytest.approx(float(cosine[-1]), rel=1e-4)
    assert all(min(abs(rate - float(each)) for each in cosine) < 1e-6 for rate in rates)
    assert rates == sorted(rates, reverse=True)
    status, out, _ = deeprelax(*given, "schedule=step", "schedule.milestones=[7]", "output_dir=late")
    assert status == 0
    assert "schedule.milestones begin at 7 in a part that begins at pass 5.92, beyond epochs=12" in out


def test_the_last_part_can_be_made_longer(first: Path, deeprelax: Command) -> None:
    """As one chain whose last part was as long from the start, bit for bit."""
    run = [*ENTROPY, "train.evaluate_every=100", "schedule=step", "schedule.milestones=[1]"]
    base = [*RUN, "train.record_every=1", "train.evaluate_every=100"]
    assert deeprelax(*base, "output_dir=base")[0] == 0
    base_directory = directory("base")
    assert deeprelax("train", f"continue_from={base_directory}", *run, "epochs=8", "output_dir=second")[0] == 0
    longer = ["train", f"continue_from={directory('second')}", "epochs=12", "output_dir=longer"]
    status, out, _ = deeprelax(*longer)
    assert status == 0
    assert "of a run of 8, as one run of 12 would" in out
    assert deeprelax("train", f"continue_from={base_directory}", *run, "epochs=12", "output_dir=whole")[0] == 0
    a, b = (checkpoint.load(directory(root) / checkpoint.NAME) for root in ("longer", "whole"))
    assert all(torch.equal(value, b["model"][key]) for key, value in a["model"].items())
    assert result(directory("longer"))["chain"] == result(directory("whole"))["chain"]
    third = ["train", f"continue_from={directory('longer')}", "epochs=13", "optimizer=adamw", "output_dir=third"]
    assert deeprelax(*third)[0] == 0
    parts = result(directory("third"))["chain"]
    assert [part["optimizer"] for part in parts] == ["sgd", "entropy_sgd", "adamw"]
    assert sum(part["gradient_evaluations"] for part in parts) == result(directory("third"))["gradient_evaluations"]


@pytest.mark.parametrize("evaluation", [39, 47, 53])
def test_an_interrupted_part_resumes_bit_for_bit(
    evaluation: int, first: Path, deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its first checkpoint, when that of the first part lies there, and behind it."""
    given = [f"continue_from={first}", "epochs=9", *ENTROPY, "schedule=cosine", "train.checkpoint_every=1"]
    assert deeprelax("train", *given, "output_dir=whole")[0] == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, evaluation)
        assert deeprelax("train", *given, "output_dir=parts")[0] == 130
    here = directory("parts")
    assert not (here / "result.json").exists()
    reached = checkpoint.load(here / checkpoint.NAME)["evaluations"]
    assert (reached == EVALUATIONS) == (evaluation == 39)
    name = f"hydra.run.dir={here}"
    status, _, err = deeprelax("train", *given, "optimizer.gamma=1", "output_dir=parts", name)
    assert (status, "optimizer.gamma is 10000.0 there and 1.0 here" in err) == (1, True)
    assert deeprelax("train", *given, "output_dir=parts")[0] == 0
    assert_same(directory("whole"), here)


@pytest.mark.slow
def test_killed_in_the_second_part_and_started_again() -> None:
    first = finish(*LONGER, "optimizer=sgd", "output_dir=first")
    run = [f"continue_from={first}", "epochs=24", "optimizer=entropy_sgd", "optimizer.inner_steps=3", "schedule=cosine"]
    for seconds in (0.0, 0.3, 0.6):
        kill_after(seconds, *run, "output_dir=killed")
    assert_same(finish(*run, "output_dir=killed"), finish(*run, "output_dir=whole"))


def test_what_leaves_nothing_to_do_is_refused(first: Path, deeprelax: Command) -> None:
    for arguments, message in [
        (["optimizer=adamw"], "epochs=6, but continue_from="),
        (["optimizer=adamw", "epochs=6.01"], "epochs=6.01 is 37 gradient evaluations, and the run that this one "
         "continues has done 37: give a larger total"),
        (["optimizer=adamw", "epochs=9", "dataset.train_size=100"], "dataset.train_size is 200 there and 100 here"),
        (["optimizer=adamw", "epochs=9", "model=mlp"], "model.name is lenet there and mlp here"),
    ]:  # fmt: skip
        status, _, err = deeprelax("train", f"continue_from={first}", *arguments, "output_dir=second")
        assert (status, err.count("\n")) == (1, 1)
        assert message in err


def test_a_run_whose_first_part_is_gone_resumes_if_the_command_says_all(
    first: Path, deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [f"continue_from={first}", "epochs=9", "optimizer=adamw", "train.checkpoint_every=1", "hydra.run.dir=here"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 50)
        assert deeprelax("train", *given)[0] == 130
    first.rename("elsewhere")
    status, _, err = deeprelax("train", *given)
    assert (status, err) == (
        1, f"deeprelax: continue_from={first} is not the directory of a run: give the one that the run printed\n"
    )  # fmt: skip
    assert deeprelax(*RUN, "train.record_every=1", *given)[0] == 0


def test_compare_names_all_parts(first: Path, deeprelax: Command) -> None:
    assert deeprelax("train", f"continue_from={first}", "epochs=9", "optimizer=adamw", "output_dir=second")[0] == 0
    for name in ("sgd", "adamw"):
        run = ["train", *QUICK, f"optimizer={name}", "train.record_every=1", "epochs=9", "output_dir=long"]
        assert deeprelax(*run)[0] == 0
    out = deeprelax("compare", "second", "long")[1]
    lines = {line.split("  ")[1].strip() for line in out.splitlines() if line.startswith("  ")}
    assert {"sgd > adamw", "adamw", "sgd"} <= lines
    table = json.loads((Path("second") / compare.FOLDER / "table.json").read_text())
    groups = {each["label"]: each for each in table["tables"][0]["groups"]}
    assert groups["sgd > adamw"]["gradient_evaluations"] == groups["sgd"]["gradient_evaluations"] == 56
    assert [label for label, each in groups.items() if each["is_baseline"]] == ["sgd"]
    assert groups["sgd > adamw"]["difference"]["from"] == "sgd"


def test_lbfgs_with_another_history_begins_without_a_state(deeprelax: Command) -> None:
    run = ["train", *QUICK, "optimizer=lbfgs", "batch_size=200", "epochs=40", "optimizer.history_size=10"]
    assert deeprelax(*run, "output_dir=first")[0] == 0
    given = [f"continue_from={directory('first')}", "epochs=80", "optimizer.history_size=3", "output_dir=second"]
    status, out, err = deeprelax("train", *given)
    assert status == 0, err
    assert "begins without a state" in out
