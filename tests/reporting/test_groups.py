"""Test which runs are grouped, and the labels of the groups."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeprelax.errors import UserError
from deeprelax.reporting.groups import ABSENT, group, matches, resolve_key
from deeprelax.reporting.loading import Run, find_runs
from tests.reporting.fakes import write_run


def labels(folder: Path, by: list[str] | None = None) -> set[str]:
    return {each.label for each in group(find_runs([folder])[0], by)}


def runs_of(folder: Path) -> list[Run]:
    return find_runs([folder])[0]


def test_groups_hold_the_seeds_of_one_setting(tmp_path: Path) -> None:
    for optimizer in ("sgd", "heat"):
        for seed in (0, 1, 2):
            write_run(tmp_path, optimizer, seed, 1.0)
    groups = {each.label: [run.seed for run in each.runs] for each in group(runs_of(tmp_path))}
    assert groups == {"sgd": [0, 1, 2], "heat": [0, 1, 2]}


def test_labels_show_what_tells_groups_apart_and_no_more(tmp_path: Path) -> None:
    write_run(tmp_path, "sgd", 0, 1.0)
    write_run(tmp_path, "heat", 0, 1.0)
    for gamma in (0.1, 0.2):
        write_run(tmp_path, "hj", 0, 1.0, optimizer__gamma=gamma)
    assert labels(tmp_path) == {"sgd", "heat", "hj, gamma=0.1", "hj, gamma=0.2"}


def test_rules_tell_runs_apart_before_the_rates_that_follow_them(tmp_path: Path) -> None:
    write_run(tmp_path, "sgd", 0, 1.0)
    for outer, lr, momentum in (("momentum", 0.1, 0.9), ("adamw", 0.001, 0.0)):
        write_run(
            tmp_path, "heat", 0, 1.0, optimizer__outer=outer, optimizer__lr=lr, optimizer__momentum=momentum
        )  # fmt: skip
    assert labels(tmp_path) == {"sgd", "heat, outer=momentum", "heat, outer=adamw"}


def test_runs_from_before_there_were_rules_are_of_momentum(tmp_path: Path) -> None:
    write_run(tmp_path / "old", "heat", 0, 1.0)
    write_run(tmp_path / "new", "heat", 1, 1.0, optimizer__outer="momentum", optimizer__decoupled_weight_decay=0.0)
    write_run(tmp_path / "adamw", "heat", 0, 1.0, optimizer__outer="adamw")
    groups = group(runs_of(tmp_path))
    assert {each.label: len(each.runs) for each in groups} == {"outer=momentum": 2, "outer=adamw": 1}


def test_what_is_no_methods_own_is_always_shown(tmp_path: Path) -> None:
    write_run(tmp_path, "sgd", 0, 1.0)
    write_run(tmp_path, "heat", 0, 1.0, epochs=10.0)
    assert labels(tmp_path) == {"sgd, epochs=5", "heat, epochs=10"}


def test_a_value_written_as_integer_or_float_is_one_value(tmp_path: Path) -> None:
    for seed, strength in enumerate((1, 1.0)):
        write_run(tmp_path, "hj", seed, 1.0, optimizer__strength=strength)
    assert len(group(runs_of(tmp_path))) == 1


def test_values_that_differ_late_have_labels_of_their_own(tmp_path: Path) -> None:
    for lr in (0.1, 0.10000001):
        write_run(tmp_path, "hj", 0, 1.0, optimizer__lr=lr)
    assert labels(tmp_path) == {"lr=0.1", "lr=0.10000001"}


def test_how_often_a_run_was_evaluated_tells_no_groups_apart(tmp_path: Path) -> None:
    for seed, every in enumerate((1, 5)):
        directory = write_run(tmp_path, "hj", seed, 1.0)
        config = json.loads((directory / "config.yaml").read_text())
        (directory / "config.yaml").write_text(json.dumps(config | {"train": {"evaluate_every": every}}))
    assert len(group(runs_of(tmp_path))) == 1


def test_one_group_is_called_by_its_optimizer(tmp_path: Path) -> None:
    write_run(tmp_path, "hj", 0, 1.0)
    assert labels(tmp_path) == {"hj"}


def test_by_pools_what_is_not_asked_for(tmp_path: Path) -> None:
    for lr in (0.1, 0.2):
        write_run(tmp_path, "hj", 0, 1.0, optimizer__lr=lr)
        write_run(tmp_path, "sgd", 0, 1.0, optimizer__lr=lr)
    assert labels(tmp_path, ["optimizer.name"]) == {"hj", "sgd"}
    assert labels(tmp_path, ["optimizer.name", "optimizer.gamma"]) == {"hj, gamma=0.1", "sgd"}
    assert labels(tmp_path, ["optimizer.gamma"]) == {"gamma=0.1", "without gamma"}
    assert sorted(len(each.runs) for each in group(runs_of(tmp_path), ["optimizer.lr"])) == [2, 2]


def test_words_are_resolved_to_keys(tmp_path: Path) -> None:
    write_run(tmp_path, "hj", 0, 1.0)
    runs = runs_of(tmp_path)
    assert resolve_key("optimizer", runs) == "optimizer.name"
    assert resolve_key("gamma", runs) == "optimizer.gamma"
    assert resolve_key("train_size", runs) == "dataset.train_size"
    assert resolve_key("epochs", runs) == "epochs"
    with pytest.raises(
        UserError, match=r"gama is no key of these runs \(did you mean gamma\?\): the runs differ in none"
    ):
        resolve_key("gama", runs)
    for word in ("seed", "threads", "hardware.threads"):
        with pytest.raises(UserError, match=f"{word} tells no runs apart"):
            resolve_key(word, runs)
    write_run(tmp_path, "sgd", 0, 1.0, dataset__width=3, model__width=4)
    with pytest.raises(UserError, match=r"width is the end of several keys: write one of dataset\.width, model\.width"):
        resolve_key("width", runs_of(tmp_path))


@pytest.mark.parametrize(
    ("value", "text", "same"),
    [
        (0.1, "1e-1", True), (1.0, "1", True), (5, "5.0", True), (True, "true", True), (ABSENT, "null", True),
        ("sgd", "sgd", True), ("5", "5", True), (0.1, "0.2", False), (0.1, "x", False), (False, "0", False),
    ],
)  # fmt: skip
def test_values_as_they_are_written(value: object, text: str, same: bool) -> None:
    assert matches(value, text) is same
