"""Test reports on runs of other tasks than classification: what they are compared by, and how it is shown."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from deeprelax.records.scores import OF_OLDER_RUNS, cost, of_key, of_provenance, to_json
from deeprelax.reporting import figure
from deeprelax.reporting.comparison import compare
from deeprelax.reporting.export import as_csv, as_json
from deeprelax.reporting.loading import find_runs
from deeprelax.reporting.rows import Comparison
from deeprelax.reporting.text import WIDTH, markdown, terminal
from deeprelax.tasks.metric import Metric
from tests.reporting.fakes import FIT, fit_record, write_fit, write_run


def compared(folder: Path, metric: str | None = None, by: list[str] | None = None) -> Comparison:
    return compare(find_runs([folder])[0], metric, by)


def labels(found: Comparison, number: int = 0) -> list[str]:
    return [row.group.label for row in found.tables[number].rows]


def write_both(folder: Path) -> None:
    for seed in (0, 1):
        write_fit(folder, "sgd", seed, 0.5 + seed / 10)
        write_fit(folder, "heat", seed, 0.7 + seed / 100)


def test_larger_is_better_where_the_metric_says_so(tmp_path: Path) -> None:
    write_both(tmp_path)
    found = compared(tmp_path)
    assert labels(found) == ["heat", "sgd"]
    text = terminal(found)
    assert text.startswith("lenet on mine:Fit, 5 passes: test r2, larger is better, mean ± standard deviation over n s")
    assert "  heat       0.705 ± 0.007  2  +0.155 [-0.417, +0.727] " in text
    assert "  sgd        0.550 ± 0.071  2                 baseline " in text
    assert "| heat | 0.705 ± 0.007 | 2 |" in markdown(found)
    assert max(map(len, text.splitlines())) <= WIDTH


def test_another_metric_has_its_own_unit_decimals_and_direction(tmp_path: Path) -> None:
    write_both(tmp_path)
    found = compared(tmp_path, "test_rmse")
    assert labels(found) == ["sgd", "heat"]
    text = terminal(found)
    assert text.startswith("lenet on mine:Fit, 5 passes: test rmse (mm), mean ± ")
    assert "  sgd        5.50 ± 0.71  2 " in text
    assert labels(compared(tmp_path, "test_loss")) == ["sgd", "heat"]
    assert "larger" not in terminal(compared(tmp_path, "seconds"))


def test_the_best_of_several_baselines_is_the_one_with_the_larger_score(tmp_path: Path) -> None:
    write_both(tmp_path)
    write_fit(tmp_path, "sgd", 0, 0.9, optimizer__lr=0.5)
    found = compared(tmp_path)
    assert labels(found) == ["sgd, lr=0.5", "heat", "sgd, lr=0.1"]
    assert found.tables[0].rows[1].difference_from == "sgd, lr=0.5"


def test_scores_that_are_not_finite_rank_last_all_the_same(tmp_path: Path) -> None:
    write_fit(tmp_path, "heat", 0, -3.0)
    write_fit(tmp_path, "sgd", 0, float("nan"))
    assert labels(compared(tmp_path)) == ["heat", "sgd"]


def test_two_tasks_stand_in_two_tables_each_with_its_metric(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "heat", 0, 12.5)
    write_both(tmp_path / "b")
    found = compared(tmp_path)
    assert [(table.title, table.metric) for table in found.tables] == [
        ("lenet on digits, train_size 200", "test_error"), ("lenet on mine:Fit", "test_r2"),
    ]  # fmt: skip
    assert "test error (%), mean ±" in terminal(found)
    assert found.uncounted == []
    assert json.loads(as_json(found))["metric"] == ["test_error", "test_r2"]
    assert [row["metric"] for row in csv.DictReader(io.StringIO(as_csv(found)))] == ["test_error", "test_r2", "test_r2"]
    one = compared(tmp_path, "test_r2")
    assert json.loads(as_json(one))["metric"] == "test_r2"
    assert [why for _, _, why in one.uncounted] == ["its result has no number test_r2"]


def test_a_task_with_a_data_set_is_named_beside_it(tmp_path: Path) -> None:
    file = write_fit(tmp_path, "sgd", 0, 0.5) / "config.yaml"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"dataset": {"name": "diabetes", "train_size": 9}}))
    assert compared(tmp_path).tables[0].title == "lenet on diabetes, task mine:Fit, train_size 9"


def test_a_difference_is_taken_within_one_problem(tmp_path: Path) -> None:
    write_fit(tmp_path / "a", "sgd", 0, 0.5)
    write_fit(tmp_path / "b", "heat", 0, 0.5, options={"noise": 0.1})
    found = {row.group.label: row for row in compared(tmp_path).tables[0].rows}
    assert found["heat, noise=0.1"].notes == ["no run of the baseline has its task, data and network: no difference"]


def test_a_run_that_failed_early_does_not_hide_what_its_task_is_compared_by(tmp_path: Path) -> None:
    (write_fit(tmp_path / "a", "heat", 0, None) / "provenance.json").unlink()
    write_fit(tmp_path / "b", "heat", 1, 0.5)
    assert compared(tmp_path).tables[0].metric == "test_r2"
    assert compared(tmp_path / "a").tables[0].metric == "test_loss"
    assert "stopped" in terminal(compared(tmp_path / "a"))


def test_runs_of_older_versions_are_of_classification(tmp_path: Path) -> None:
    write_run(tmp_path / "old", "sgd", 0, 1.0)
    new = write_run(tmp_path / "new", "sgd", 1, 2.0)
    config = json.loads((new / "config.yaml").read_text())
    (new / "config.yaml").write_text(json.dumps(config | {"task": {"name": "classification", "options": {}}}))
    (new / "provenance.json").write_text(json.dumps({"metrics": to_json(OF_OLDER_RUNS)}))
    one, other = find_runs([tmp_path])[0]
    assert one.settings == other.settings
    assert one.metrics == other.metrics == OF_OLDER_RUNS
    assert labels(compared(tmp_path)) == ["sgd"]
    assert compared(tmp_path).tables[0].rows[0].summary.mean == 1.5


def test_counts_and_speeds_are_nothing_to_compare_by(tmp_path: Path) -> None:
    write_fit(tmp_path, "sgd", 0, 0.5)
    with pytest.raises(ValueError, match=r"there are seconds, test_loss, test_r2, test_rmse$"):
        compared(tmp_path, "examples_per_second")
    with pytest.raises(ValueError, match=r"no run held examples out \(dataset.validation=N\)"):
        compared(tmp_path, "validation_r2")


def test_notes_name_the_tasks_own_metric_and_examples(tmp_path: Path) -> None:
    for size in (10, 20):
        write_fit(tmp_path, "sgd", 0, 0.5, batch_size=size, budget=1000 // size, result={"validation_r2": 0.4})
    assert compared(tmp_path).notes == [
        "gradient evaluations are of 10 and 20 examples: hold the curves against --x passes",
        "these runs held examples out: choose settings by --metric validation_r2, not by test examples",
    ]
    assert len(compared(tmp_path, "validation_r2").notes) == 1
    write_fit(tmp_path, "hj", 0, 0.5, budget=200)
    assert "a budget of 200 gradient evaluations of 10 examples, not " in terminal(compared(tmp_path))


def test_the_curves_are_of_the_tasks_metric_and_the_loss(tmp_path: Path) -> None:
    records = [fit_record(10, -4.0), fit_record(20, 0.5)]
    write_run(tmp_path / "a", "heat", 0, 12.5)
    write_fit(tmp_path / "b", "heat", 0, 0.5, records=records)
    found = compared(tmp_path)
    axes = figure.draw(found.tables, "passes").axes
    assert [each.get_ylabel() for each in axes] == ["test error (%)", "test loss", "test r2", "test loss"]
    assert axes[2].lines[0].get_ydata().tolist() == [-4.0, 0.5]
    assert axes[2].get_ylim()[0] < -4  # 0 is no floor of it
    assert axes[0].get_ylim()[0] == 0 or axes[0].get_yscale() == "log"
    other = compared(tmp_path, "test_rmse").tables
    assert [each.get_ylabel() for each in figure.draw(other[1:], "passes").axes] == ["test rmse (mm)", "test loss"]
    assert figure.write(found, tmp_path, "seconds") == ["curves.png", "curves.pdf"]


@pytest.mark.parametrize("key", ["r2", "rmse", "loss"])
def test_a_record_is_corrupt_if_a_score_is_no_number(key: str, tmp_path: Path) -> None:
    write_fit(tmp_path, "heat", 0, 0.5, records=[fit_record(10, 0.1) | {key: "0.1"}, fit_record(20, 0.5)])
    ((run,), _) = find_runs([tmp_path])
    assert (run.state, "metrics.jsonl is corrupt in line 1" in run.reason) == ("corrupt", True)


@pytest.mark.parametrize("metrics", [{}, [], 3, {"r2": 3}, {"r2": {"colour": "red"}}])
def test_metrics_that_cannot_be_read_are_damage(metrics: object, tmp_path: Path) -> None:
    (write_fit(tmp_path, "heat", 0, 0.5) / "provenance.json").write_text(json.dumps({"metrics": metrics}))
    ((run,), _) = find_runs([tmp_path])
    assert (run.state, "provenance.json is corrupt" in run.reason) == ("corrupt", True)


def test_metrics_are_read_as_they_were_written() -> None:
    assert of_provenance(json.loads(json.dumps({"metrics": to_json(FIT)}))) == FIT
    assert of_provenance({}) == OF_OLDER_RUNS
    assert of_key("validation_rmse", FIT) == FIT["rmse"]
    assert of_key("test_loss", FIT) == of_key("seconds", FIT) == Metric()


def test_sweepers_minimise_the_first_metric_of_what_was_held_out() -> None:
    assert cost({"test_error": 12.5}, OF_OLDER_RUNS) == 12.5
    assert cost({"test_error": 12.5, "validation_error": 13.0}, OF_OLDER_RUNS) == 13.0
    assert cost({"test_r2": 0.5, "test_rmse": 3.0}, FIT) == -0.5
    assert cost({"test_r2": 0.5, "validation_r2": 0.25}, FIT) == -0.25
