"""What a comparison warns of: runs that are missing, of other budgets, versions or hardware, or not finite."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from deeprelax.errors import UserError
from deeprelax.reporting.export import as_json
from deeprelax.reporting.text import terminal, warnings
from tests.reporting.compared import compared, rows, write_both
from tests.reporting.fakes import write_run


def test_unfinished_runs_and_missing_seeds_are_named(tmp_path: Path) -> None:
    write_both(tmp_path)
    write_run(tmp_path, "hj", 0, 0.1)
    write_run(tmp_path, "hj", 1, None, log="2026-01-02 03:04:05,678 ERROR a bad step\n")
    found = compared(tmp_path)
    assert [(state, why) for _, state, why in found.uncounted] == [("failed", "a bad step")]
    assert "hj: no result for seed 1 (failed), 2 (not there)" in warnings(found.tables[0])
    difference = rows(found)["hj"].difference
    assert difference is not None
    assert (difference.why_not, difference.low) == ("one pair", None)


def test_another_budget_is_flagged_and_ranked_last(tmp_path: Path) -> None:
    write_both(tmp_path)
    write_run(tmp_path, "hj", 0, 0.01, budget=200, epochs=10.0)
    found = compared(tmp_path)
    assert list(rows(found))[-1] == "hj, epochs=10"
    hj = rows(found)["hj, epochs=10"]
    assert not hj.comparable
    assert hj.difference is None
    said = "a budget of 200 gradient evaluations of 10 images, not 100 gradient evaluations of 10 images"
    assert hj.notes == [f"{said}: not comparable with the others"]
    assert "hj, epochs=10 (*)" in terminal(found)


def test_budgets_are_counted_in_images(tmp_path: Path) -> None:
    write_run(tmp_path, "sgd", 0, 0.8, budget=100)
    write_run(tmp_path, "heat", 0, 0.7, budget=33, batch_size=30)  # 990 of 1,000 images: whole batches
    write_run(tmp_path, "hj", 0, 0.7, budget=32, batch_size=30)
    assert {row.group.label: row.comparable for row in compared(tmp_path).tables[0].rows} == {
        "sgd, batch_size=10": True, "heat, batch_size=30": True, "hj, batch_size=30": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        (98, []), (102, []),
        (97, ["3 % fewer gradient evaluations than others took of the same budget"]),
        (103, ["3 % more gradient evaluations than others took of the same budget"]),
        (300, ["3 times the gradient evaluations that others took of the same budget"]),
    ],
)  # fmt: skip
def test_actual_evaluations_two_percent_apart_are_warned_of(taken: int, said: list[str], tmp_path: Path) -> None:
    write_run(tmp_path, "sgd", 0, 0.8)
    write_run(tmp_path, "hj", 0, 0.7, evaluations=taken)
    hj = rows(compared(tmp_path))["hj"]
    assert hj.comparable
    assert hj.notes == said


def test_runs_that_stopped_early_are_of_their_budget_and_their_cost_is_told(tmp_path: Path) -> None:
    write_both(tmp_path)
    early: dict[str, Any] = {"evaluations": 60, "result": {"stopped_early": True, "best_passes": 3.0}}
    patience = {"train": {"patience": 2.0, "evaluate_every": 1.0}}
    for seed in range(3):
        write_run(tmp_path, "hj", seed, 0.1, **(early if seed else {}), **patience)
    found = compared(tmp_path)
    hj = next(row for label, row in rows(found).items() if label.startswith("hj"))
    assert (hj.comparable, hj.unusual_cost) == (True, False)
    assert hj.evaluations == pytest.approx((100 + 60 + 60) / 3)
    said = "2 of 3 runs stopped early (train.patience), after 60 % of the budget's gradient evaluations"
    assert hj.notes == [said]
    assert hj.difference is not None
    assert hj.difference.pairs == 3
    assert [row.notes for label, row in rows(found).items() if not label.startswith("hj")] == [[], []]


def test_a_mean_of_x_is_compared_as_x_is(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path, "sgd", seed, 0.8, result={"test_error_average": 0.7, "best_passes": 3.0})
        write_run(tmp_path, "heat", seed, 0.5, result={"test_error_average": 0.9})
    found = compared(tmp_path, "test_error_average")
    assert list(rows(found)) == ["sgd", "heat"]
    table = found.tables[0]
    assert (table.shown_as.unit, table.drawn, table.mean) == ("%", "error_average", "_average")
    assert "test error average (%)" in terminal(found)
    assert (compared(tmp_path).tables[0].drawn, compared(tmp_path).tables[0].mean) == ("error", "")
    with pytest.raises(UserError, match="no number to compare runs by: there are seconds, test_error, test_e"):
        compared(tmp_path, "best_passes")


def test_the_same_run_twice_counts_once_and_is_listed(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "sgd", 0, 0.8)
    write_run(tmp_path / "b", "sgd", 0, 0.7)
    found = compared(tmp_path)
    assert rows(found)["sgd"].summary.n == 1
    ((run, state, why),) = found.uncounted
    assert (run.directory.parts[-3], state) == ("b", "again")
    assert why.startswith("the same configuration and seed as ")
    (note,) = found.notes
    assert re.search(r"two results: test_error is 0\.8 in \S*/a/\S*, which is counted, and 0\.7 in \S*/b/", note)


def test_seeds_without_a_partner_are_named(tmp_path: Path) -> None:
    write_both(tmp_path)
    write_run(tmp_path, "sgd", 3, 0.5)
    write_run(tmp_path, "heat", 4, 0.5)
    assert rows(compared(tmp_path))["heat"].notes == [
        "its seeds without a partner are in no difference: 4",
        "the baseline's seeds without a partner are in no difference: 3",
    ]


def test_settings_are_chosen_by_validation_images(tmp_path: Path) -> None:
    for lr in (0.1, 0.2):
        write_run(tmp_path, "sgd", 0, lr, result={"validation_error": lr}, optimizer__lr=lr)
    assert compared(tmp_path, "validation_error").notes == []
    assert "choose settings by --metric validation_error" in compared(tmp_path).notes[0]


def test_other_versions_of_a_library_are_told(tmp_path: Path) -> None:
    for seed, version in enumerate(("2.9", "2.10")):
        directory = write_run(tmp_path, "sgd", seed, 1.0)
        (directory / "provenance.json").write_text(json.dumps({"versions": {"torch": version, "numpy": "2"}}))
    assert compared(tmp_path).notes == ["the runs were made with different versions of torch: 2.10, 2.9"]


def test_pooled_runs_are_said_to_be_pooled_and_not_paired(tmp_path: Path) -> None:
    write_both(tmp_path)
    write_run(tmp_path, "heat", 0, 0.3, optimizer__lr=0.5)
    heat = rows(compared(tmp_path, by="optimizer"))["heat"]
    assert heat.summary.n == 4
    assert heat.notes == ["pools runs that differ in optimizer.lr: the spread is not over seeds alone"]
    assert heat.difference is not None
    assert (heat.difference.mean, heat.difference.why_not) == (None, "a seed occurs twice")


def test_values_that_are_not_finite_rank_last_and_leave_the_json_valid(tmp_path: Path) -> None:
    write_run(tmp_path, "sgd", 0, 0.8)
    write_run(tmp_path, "heat", 0, math.nan)
    found = compared(tmp_path)
    assert list(rows(found)) == ["sgd", "heat"]
    assert "NaN" not in as_json(found)
    assert rows(found)["heat"].notes == ["seed 0: not finite"]
    with pytest.raises(UserError, match="--metric device is no number to compare runs by"):
        compared(tmp_path, "device")
    with pytest.raises(UserError, match=r"no run held images out \(dataset.validation=N\)"):
        compared(tmp_path, "validation_error")


def test_skipped_steps_and_other_hardware_are_told(tmp_path: Path) -> None:
    write_run(tmp_path, "sgd", 0, 0.8, result={"skipped_steps": 2})
    write_run(tmp_path, "heat", 0, 0.8, result={"device": "cuda (X)"})
    found = compared(tmp_path)
    assert rows(found)["sgd"].notes == ["seed 0: 2 steps were not finite and skipped"]
    assert found.notes[0].startswith("seconds are not comparable: ")
