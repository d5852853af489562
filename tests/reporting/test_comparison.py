"""Test the rows of a comparison: differences, budgets, and warnings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deeprelax.errors import UserError
from deeprelax.records.scores import to_json
from deeprelax.reporting.export import as_csv, as_json
from deeprelax.reporting.text import WIDTH, markdown, terminal, warnings
from deeprelax.tasks.metric import Metric
from tests.reporting.compared import HEAT, compared, rows, write_both
from tests.reporting.fakes import write_run


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


def write_scored(folder: Path, optimizer: str, wrong: list[int], images: int | None) -> None:
    """Runs of seeds 0, 1, ... with so many misclassified of the test images; None: a result that has no number."""
    for seed, each in enumerate(wrong):
        counted = {} if images is None else {"test_images": images}
        directory = write_run(folder, optimizer, seed, 100 * each / (images or 360), result=counted)
        metrics = {"metrics": to_json({"error": Metric("%", 2, share_of="images")})}
        (directory / "provenance.json").write_text(json.dumps(metrics))


def test_a_difference_of_one_image_in_each_pair_is_no_interval_of_rounding(tmp_path: Path) -> None:
    write_scored(tmp_path, "sgd", [17, 23], 360)
    write_scored(tmp_path, "heat", [16, 22], 360)
    write_scored(tmp_path, "hj", [14, 22], 360)  # two images on average, and no two alike
    found = compared(tmp_path)
    text = terminal(found)
    assert "-0.28 (all pairs alike)" in text
    assert "-0.56 [-4.09, +2.97]" in text
    assert warnings(found.tables[0]) == ["heat: its difference is under two test images (one is 0.28 %)"]


def test_results_without_a_number_of_images_have_no_note_on_them(tmp_path: Path) -> None:
    write_scored(tmp_path, "sgd", [17, 23], None)
    write_scored(tmp_path, "heat", [16, 22], None)
    found = compared(tmp_path)
    assert "-0.28 (all pairs alike)" in terminal(found)
    assert warnings(found.tables[0]) == []
    with pytest.raises(UserError, match="--metric test_images: no run has it"):
        compared(tmp_path, "test_images")


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


def test_a_corrupt_run_does_not_hide_the_others(tmp_path: Path) -> None:
    write_both(tmp_path)
    (write_run(tmp_path, "hj", 0, 0.1) / "result.json").write_text("{")
    found = compared(tmp_path)
    assert list(rows(found)) == ["heat", "sgd", "hj"]
    assert [(state, why.split(": ")[0].split("/")[-1]) for _, state, why in found.uncounted] == [
        ("corrupt", "result.json is corrupt")
    ]
    assert "hj: no result for seed 0 (corrupt), 1 (not there), 2 (not there)" in warnings(found.tables[0])


def test_the_terminals_table_fits_its_width(tmp_path: Path) -> None:
    write_both(tmp_path)
    long = {f"optimizer__a_key_with_a_long_name_{k}": k for k in range(6)}
    write_run(tmp_path, "hj", 0, 0.7, **long)
    write_run(tmp_path, "hj", 0, 0.7, **{key: value + 1 for key, value in long.items()})
    lines = terminal(compared(tmp_path, by=",".join(["optimizer", *(key.partition("__")[2] for key in long)])))
    assert max(map(len, lines.splitlines())) <= WIDTH
    assert all(f"a_key_with_a_long_name_{k}={k}" in lines for k in range(6))
