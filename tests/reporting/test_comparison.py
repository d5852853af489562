"""Test the rows of a comparison: differences, budgets, and warnings."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from deeprelax.errors import UserError
from deeprelax.reporting.comparison import compare
from deeprelax.reporting.export import as_csv, as_json
from deeprelax.reporting.loading import find_runs
from deeprelax.reporting.rows import Comparison, Row
from deeprelax.reporting.text import WIDTH, markdown, terminal, warnings
from tests.reporting.fakes import write_run

SGD, HEAT = [0.8, 0.6, 1.0], [0.5, 0.4, 0.9]


def write_both(folder: Path) -> None:
    for seed, (sgd, heat) in enumerate(zip(SGD, HEAT, strict=True)):
        write_run(folder, "sgd", seed, sgd)
        write_run(folder, "heat", seed, heat)


def compared(folder: Path, metric: str = "test_error", **options: str) -> Comparison:
    by = options.get("by")
    return compare(find_runs([folder])[0], metric, by.split(",") if by else None, options.get("baseline"))


def rows(found: Comparison, number: int = 0) -> dict[str, Row]:
    return {row.group.label: row for row in found.tables[number].rows}


def test_best_first_with_the_paired_difference_from_sgd(tmp_path: Path) -> None:
    write_both(tmp_path)
    found = compared(tmp_path)
    assert list(rows(found)) == ["heat", "sgd"]
    heat = rows(found)["heat"]
    assert (heat.summary.n, heat.summary.mean) == (3, pytest.approx(0.6))
    assert heat.summary.std == pytest.approx(np.std(HEAT, ddof=1))
    assert heat.difference is not None
    assert heat.difference.mean == pytest.approx(-0.2)
    assert rows(found)["sgd"].is_baseline
    assert found.tables[0].baseline == "sgd"
    assert warnings(found.tables[0]) == []
    assert found.uncounted == []


def test_another_baseline(tmp_path: Path) -> None:
    write_both(tmp_path)
    sgd = rows(compared(tmp_path, baseline="optimizer=heat,sigma=2e-2"))["sgd"]
    assert sgd.difference is not None
    assert sgd.difference.mean == pytest.approx(0.2)
    with pytest.raises(UserError, match="--baseline optimizer=adam: no run is of this kind"):
        compared(tmp_path, baseline="optimizer=adam")


def test_without_the_baseline_there_are_no_differences(tmp_path: Path) -> None:
    write_run(tmp_path, "hj", 0, 1.0)
    write_run(tmp_path, "heat", 0, 2.0)
    found = compared(tmp_path)
    assert all(row.difference is None for row in found.tables[0].rows)
    assert "minus" not in terminal(found)


def test_every_row_of_the_markdown_has_the_columns_of_its_header(tmp_path: Path) -> None:
    write_both(tmp_path)
    write_run(tmp_path, "hj", 0, 1.0, model__name="mlp")  # a table without the baseline
    tables = [table for table in markdown(compared(tmp_path)).split("## ") if "|" in table]
    columns = [{line.count(" | ") for line in table.splitlines() if line.startswith("|")} for table in tables]
    assert sorted(map(sorted, columns)) == [[4], [5]]


def test_a_table_of_baselines_alone_has_no_differences(tmp_path: Path) -> None:
    for lr in (0.1, 0.2):
        write_run(tmp_path, "sgd", 0, 1.0, optimizer__lr=lr)
    assert "baseline" not in terminal(compared(tmp_path))


def test_a_baseline_of_the_same_batch_size_goes_before_a_better_one(tmp_path: Path) -> None:
    write_run(tmp_path, "heat", 0, 0.7, batch_size=20, budget=50)
    write_run(tmp_path, "sgd", 0, 0.9, batch_size=20, budget=50)
    write_run(tmp_path, "sgd", 0, 0.1, batch_size=10, budget=100)
    found = compared(tmp_path)
    heat = rows(found)["heat, batch_size=20"]
    assert heat.difference_from == "sgd, batch_size=20"
    assert found.notes == ["gradient evaluations are of 10 and 20 images: hold the curves against --x passes"]


def test_of_several_baselines_the_best_one_is_taken_and_named(tmp_path: Path) -> None:
    write_both(tmp_path)
    for seed in range(3):
        write_run(tmp_path, "sgd", seed, 0.1, optimizer__lr=0.5)
    found = rows(compared(tmp_path))
    heat = found["heat"]
    assert set(found) == {"heat", "sgd, lr=0.5", "sgd, lr=0.1"}
    assert heat.notes == ["its difference is from sgd, lr=0.5, the best of them"]
    assert heat.difference is not None
    assert heat.difference.mean == pytest.approx(0.5)


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


def test_a_group_without_any_result_keeps_its_row(tmp_path: Path) -> None:
    write_both(tmp_path)
    write_run(tmp_path, "hj", 0, None)
    found = compared(tmp_path)
    assert list(rows(found))[-1] == "hj"
    assert rows(found)["hj"].summary.n == 0
    for text in (terminal(found), markdown(found), as_csv(found), as_json(found)):
        assert "hj" in text


def test_nothing_finished_is_no_error(tmp_path: Path) -> None:
    write_run(tmp_path, "hj", 0, None)
    assert "stopped" in terminal(compared(tmp_path))


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


def test_networks_and_data_are_never_ranked_together(tmp_path: Path) -> None:
    write_both(tmp_path)
    write_run(tmp_path, "heat", 0, 0.1, model__name="mlp")
    write_run(tmp_path, "heat", 0, 0.1, dataset__train_size=100)
    found = compared(tmp_path)
    titles = {"lenet on digits, train_size 200", "mlp on digits, train_size 200", "lenet on digits, train_size 100"}
    assert {table.title for table in found.tables} == titles
    assert all(row.difference is None for table in found.tables if len(table.rows) == 1 for row in table.rows)


def test_an_unknown_metric_is_answered_with_those_there_are(tmp_path: Path) -> None:
    write_run(tmp_path, "sgd", 0, 0.8)
    known = "there are seconds, test_error, test_loss"
    with pytest.raises(UserError, match=rf"--metric test_eror: no run has it \(did you mean test_error\?\): {known}$"):
        compared(tmp_path, "test_eror")


def test_a_result_without_the_metric_is_listed(tmp_path: Path) -> None:
    write_run(tmp_path, "sgd", 0, 0.8)
    write_run(tmp_path, "heat", 0, 0.8, result={"validation_error": 0.5})
    found = compared(tmp_path, "validation_error")
    assert [(state, why) for _, state, why in found.uncounted] == [
        ("finished", "its result has no number validation_error")
    ]


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


def test_a_corrupt_run_does_not_hide_the_others(tmp_path: Path) -> None:
    write_both(tmp_path)
    (write_run(tmp_path, "hj", 0, 0.1) / "result.json").write_text("{")
    found = compared(tmp_path)
    assert list(rows(found)) == ["heat", "sgd", "hj"]
    assert [(state, why.split(": ")[0].split("/")[-1]) for _, state, why in found.uncounted] == [
        ("damaged", "result.json is damaged")
    ]
    assert "hj: no result for seed 0 (damaged), 1 (not there), 2 (not there)" in warnings(found.tables[0])


def test_skipped_steps_and_other_hardware_are_told(tmp_path: Path) -> None:
    write_run(tmp_path, "sgd", 0, 0.8, result={"skipped_steps": 2})
    write_run(tmp_path, "heat", 0, 0.8, result={"device": "cuda (X)"})
    found = compared(tmp_path)
    assert rows(found)["sgd"].notes == ["seed 0: 2 steps were not finite and left out"]
    assert found.notes[0].startswith("seconds are not comparable: ")


def test_the_terminals_table_fits_its_width(tmp_path: Path) -> None:
    write_both(tmp_path)
    long = {f"optimizer__a_key_with_a_long_name_{k}": k for k in range(6)}
    write_run(tmp_path, "hj", 0, 0.7, **long)
    write_run(tmp_path, "hj", 0, 0.7, **{key: value + 1 for key, value in long.items()})
    lines = terminal(compared(tmp_path, by=",".join(["optimizer", *(key.partition("__")[2] for key in long)])))
    assert max(map(len, lines.splitlines())) <= WIDTH
    assert all(f"a_key_with_a_long_name_{k}={k}" in lines for k in range(6))
