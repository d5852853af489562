"""Test `name` and `tags` of runs, and what `deeprelax runs` shows below a name that is not whole."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.hooks import interrupt_at
from tests.quick import RUN, directory
from tests.reporting.fakes import write_run

Command = Callable[..., tuple[int, str, str]]
QUICK = [*RUN, "epochs=1"]


def labels(run: Path) -> tuple[str | None, list[str]]:
    content = yaml.safe_load((run / "config.yaml").read_text())
    return content["name"], content["tags"]


def test_a_run_keeps_its_labels_and_a_finished_one_gets_new_ones_without_training(
    deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        assert deeprelax(*QUICK, "name=first try", "tags=[paper,lenet]")[0] == 130
    run = directory()
    assert labels(run) == ("first try", ["paper", "lenet"])
    assert deeprelax(*QUICK)[0] == 0  # resumed by a command that does not give them
    assert labels(run) == ("first try", ["paper", "lenet"])
    before = {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}
    status, out, _ = deeprelax(*QUICK, "tags=[thesis]")
    assert (status, out.count("tags changed, nothing else"), out.count("finished before: ")) == (0, 1, 1)
    assert labels(run) == ("first try", ["thesis"])
    after = {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}
    assert {file for file in after if after[file] != before[file]} == {"config.yaml"}
    out = deeprelax("runs")[1]
    assert re.search(
        r"^state +error %  passes  name +tags +run\nfinished +[\d.]+ +\S+  first try  thesis  outputs", out
    )


def test_a_run_that_continues_another_has_its_own_labels(deeprelax: Command) -> None:
    assert deeprelax(*QUICK, "name=old", "tags=[a]", "output_dir=first")[0] == 0
    assert deeprelax("train", f"continue_from={directory('first')}", "epochs=2", "output_dir=second")[0] == 0
    assert labels(directory("second")) == (None, [])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("tags=[a b]", r"tags=['a b'] is out of range: it must be a list of words without blanks or commas"),
        ("tags=paper", "tags is a list: write tags=[VALUE,...]"),
        ("name=", "name= is out of range: it must be one line of text"),
    ],
)
def test_what_is_no_label_is_refused(given: str, message: str, deeprelax: Command) -> None:
    status, _, err = deeprelax(*QUICK, given)
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith(f"deeprelax: {message}")
    assert list(Path("outputs").rglob("*")) == []


def test_runs_and_compare_take_those_with_all_the_tags(deeprelax: Command, tmp_path: Path) -> None:
    for seed, tags in enumerate((["paper", "a"], ["paper", "b"], [])):
        write_run(tmp_path / "runs", "sgd", seed, 1.0, tags=tags, log=str(seed))
    listed = deeprelax("runs", "runs", "--tag", "paper")[1]
    assert (listed.count("finished"), listed.count("paper b")) == (2, 1)
    assert deeprelax("runs", "runs", "--tag", "paper", "--tag", "b")[1].count("finished") == 1
    assert re.search(r"^  sgd +1.00 ± 0.00 +2 ", deeprelax("compare", "runs", "--tag", "paper")[1], re.MULTILINE)
    for command in ("runs", "compare"):
        status, _, err = deeprelax(command, "runs", "--tag", "papr")
        assert status == 1
        assert err == "deeprelax: --tag papr: no run has it (did you mean paper?): there are a, b, paper\n"
    assert "no run has all: there are a, b, paper" in deeprelax("runs", "runs", "--tag", "a", "--tag", "b")[2]


def test_below_a_name_that_is_not_whole_stands_what_was_given(deeprelax: Command, tmp_path: Path) -> None:
    given = ["schedule=step", "schedule.milestones=[1]", "seed=5"]
    assert deeprelax(*QUICK, *given)[0] == 0
    out = deeprelax("runs")[1]
    assert re.search(r"optimizer-sgd\+schedule-step\+schedule.milestones-_1.0_\+\S+-[0-9a-f]{8}/seed-5\n +optim", out)
    assert out.splitlines()[-1].split() == [
        "optimizer=sgd", "schedule=step", "schedule.milestones=[1]", "dataset.train_size=200", "batch_size=32",
        "epochs=1", "train.bn_batches=2",
    ]  # fmt: skip
    assert write_run(tmp_path / "older", "sgd", 0, 1.0).parent.rename(tmp_path / "older" / "gamma-1-0123abcd").is_dir()
    assert len(deeprelax("runs", "older")[1].splitlines()) == 2  # which has no overrides.yaml
