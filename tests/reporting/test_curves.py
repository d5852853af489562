"""Test the curves: what is averaged where, and the figure's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeprelax.reporting import figure
from deeprelax.reporting.comparison import compare
from deeprelax.reporting.curves import curve, split_of
from deeprelax.reporting.loading import Run, find_runs
from tests.reporting.fakes import record, write_run


def runs_with(folder: Path, *series: list[tuple[float, float]]) -> list[Run]:
    """Runs with these (seconds, error) records."""
    for seed, points in enumerate(series):
        write_run(folder, "sgd", seed, 1.0, records=[record(int(10 * s), e, seconds=s) for s, e in points])
    return find_runs([folder])[0]


def test_mean_and_deviation_only_where_every_seed_has_data(tmp_path: Path) -> None:
    runs = runs_with(tmp_path, [(1, 10), (3, 6), (5, 4)], [(2, 9), (4, 5)])
    found = curve(runs, "test", "seconds", "error")
    assert found is not None
    assert found.x.tolist() == [2, 3, 4]  # neither 1 nor 5, where one seed alone has data
    # the first run has 8, 6, 5 there, the second 9, 7, 5
    assert found.mean.tolist() == [8.5, 6.5, 5.0]
    assert found.std == pytest.approx([np.sqrt(0.5), np.sqrt(0.5), 0.0])


def test_equal_positions_are_not_interpolated(tmp_path: Path) -> None:
    runs = runs_with(tmp_path, [(1, 0.1), (2, 0.7)], [(1, 0.3), (2, 0.2)])
    found = curve(runs, "test", "evaluations", "error")
    assert found is not None
    assert found.mean.tolist() == [np.mean([0.1, 0.3]), np.mean([0.7, 0.2])]


def test_one_run_has_no_band_and_no_common_range_no_curve(tmp_path: Path) -> None:
    runs = runs_with(tmp_path, [(1, 10), (2, 6)], [(3, 9), (4, 5)])
    assert curve(runs[:1], "test", "seconds", "error").std is None  # type: ignore[union-attr]
    assert curve(runs, "test", "seconds", "error") is None
    assert curve(runs, "validation", "seconds", "error") is None
    assert curve([], "test", "seconds", "error") is None


def test_the_curves_are_those_of_the_metrics_images() -> None:
    names = ("validation_error", "test_loss", "train_loss", "seconds")
    assert [split_of(name) for name in names] == ["validation", "test", "train", "test"]


@pytest.mark.parametrize("x", ["evaluations", "passes", "seconds"])
def test_the_figure_is_written_as_png_and_pdf(x: str, tmp_path: Path) -> None:
    runs = runs_with(tmp_path, [(1, 10), (2, 6)], [(1, 9), (3, 0.0)])
    assert figure.write(compare(runs, "test_error"), tmp_path, x) == ["curves.png", "curves.pdf"]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "curves.pdf").read_bytes().startswith(b"%PDF")
    assert sorted(p.name for p in tmp_path.glob("curves*")) == ["curves.pdf", "curves.png"]


def test_an_old_figure_does_not_outlive_its_runs(tmp_path: Path) -> None:
    write_run(tmp_path, "sgd", 0, None)
    (tmp_path / "curves.png").write_text("old")
    assert figure.write(compare(find_runs([tmp_path])[0], "test_error"), tmp_path, "passes") == []
    assert not (tmp_path / "curves.png").exists()


def test_too_many_groups_leave_the_baseline_and_the_best(tmp_path: Path) -> None:
    write_run(tmp_path, "sgd", 0, 99.0)
    for k in range(12):
        write_run(tmp_path, "heat", 0, 1.0 + k, optimizer__lr=k)
    (table,) = compare(find_runs([tmp_path])[0], "test_error").tables
    drawn = [row.group.label for row in figure.chosen(table)]
    assert drawn == [*(f"heat, lr={k}" for k in range(7)), "sgd"]
    axes = figure.draw([table], "passes").axes
    assert [line.get_label().partition(" (")[0] for line in axes[1].lines] == drawn
    assert len({line.get_color() for line in axes[1].lines}) == 8
    assert axes[0].get_xlabel() == "passes over the training data"
    assert axes[0].get_ylabel() == "test error (%)"
