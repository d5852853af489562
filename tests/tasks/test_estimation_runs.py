"""Estimation from the command line: the equation told, a table of the user's, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.quick import directory

Command = Callable[..., tuple[int, str, str]]
SHORT = ["train", "task=estimation", "task.points=60", "batch_size=60", "hardware.threads=1"]
SHORT += ["epochs=20", "task.warmup=5", "task.prune_at=[10]"]


def table(file: Path, rows: int = 300) -> None:
    """u = e^(2 x), in which u_x = 2 u."""
    lines = [f"{i / rows},{math.exp(2 * i / rows)}" for i in range(rows)]
    file.write_text("\n".join(["x,u", *lines]))


def test_a_run_tells_its_equation_and_the_bound_and_draws_its_picture(deeprelax: Command) -> None:
    status, out, err = deeprelax(*SHORT, "optimizer=adamw", "task.equation=ode")
    assert (status, err) == (0, "")
    assert "mlp_field on estimation with adamw: 20 passes over 60 values" in out
    assert "test coefficient_error " in out
    result = json.loads((directory() / "result.json").read_text())
    assert f"\nfound {result['formula']}\n" in out
    assert result["formula"].startswith("u_x = ")
    assert result["latex"].startswith("u_{x} = ")
    assert result["coefficients"]["u_x"] == 1
    assert 0 < result["cramer_rao"] < 0.05
    assert 0 < result["maximum_likelihood"] < 0.05
    assert result["precision"] == "float64"
    names = ("loss", "coefficient_error", "misfit", "residual", "relative_l2")
    assert {f"test_{name}" for name in names} <= set(result)
    assert (directory() / "estimate.png").read_bytes().startswith(b"\x89PNG")
    assert f"found {result['formula']}\n" in deeprelax(*SHORT, "optimizer=adamw", "task.equation=ode")[1]
    assert deeprelax("evaluate", str(directory()))[1].endswith("as in result.json\n")


def test_the_equation_of_a_table_of_ones_own_is_found(
    deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(tmp_path / "mine.csv")
    run = [*SHORT[:2], "task.path=mine.csv", 'task.terms="u_x, u"', "batch_size=300", "hardware.threads=1"]
    run += ["epochs=400", "task.warmup=50", "task.prune_at=[]", "optimizer=adamw"]
    status, out, err = deeprelax(*run)
    assert (status, err) == (0, "")
    result = json.loads((directory() / "result.json").read_text())
    assert result["coefficients"]["u"] == pytest.approx(-2, abs=0.05)
    assert "test misfit " in out
    assert not {"test_coefficient_error", "test_relative_l2", "cramer_rao"} & set(result)
    assert result["values"] == 300


@pytest.mark.parametrize("columns", ["x,y,u", "t,x,y,u"])
def test_tables_of_more_coordinates_are_taken_too(columns: str, deeprelax: Command, tmp_path: Path) -> None:
    d = columns.count(",")
    lines = [",".join([*(str((i * (j + 3)) % 17) for j in range(d)), str(math.sin(i))]) for i in range(40)]
    (tmp_path / "mine.csv").write_text("\n".join([columns, *lines]))
    status, _, err = deeprelax(*SHORT, "task.path=mine.csv", "batch_size=40", "epochs=3", "optimizer=adamw")
    assert (status, err) == (0, "")
    assert (directory() / "estimate.png").exists()


def test_another_table_is_another_run(deeprelax: Command, tmp_path: Path) -> None:
    """A run resumes with the numbers that it began with, or not at all."""
    table(tmp_path / "mine.csv")
    run = [*SHORT, "task.path=mine.csv", "batch_size=100", "epochs=4", "optimizer=adamw"]
    assert deeprelax(*run)[0] == 0
    table(tmp_path / "mine.csv", rows=200)
    status, _, err = deeprelax(*run, f"continue_from={directory()}", "epochs=6", "output_dir=more")
    assert status == 1
    assert "data" in err


def test_a_network_that_diverges_is_told_in_a_sentence(deeprelax: Command) -> None:
    status, _, err = deeprelax(*SHORT, "optimizer=sgd", "optimizer.lr=1e9", "task.warmup=0", "task.prune_at=[2]")
    assert (status, err.count("\n")) == (1, 1), err
    assert "not finite" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task.path=none.csv"], "task.path=none.csv: No such file or directory: it must be a CSV file"),
        (["task.equation=hbj"], "task.equation=hbj is out of range: it must be one of ode, wave, burgers"),
        (['task.terms="u_t, u_z"'], "task.terms: u_z in 'u_z' is neither a coordinate (t, x) nor u"),
        (["task.prune_at=[-1]"], "task.prune_at=[-1.0] is out of range"),
        (["optimizer=lbfgs"], "task.warmup=5.0 and task.prune_at=[10.0] change the loss from time to time"),
        (["hardware.precision=bfloat16"], "hardware.precision=bfloat16 has too few digits for the derivatives"),
        (["hardware.compile=true"], "hardware.compile=true cannot differentiate the loss of task=estimation"),
        (["hardware.devices=2"], "hardware.share=data"),
        (["dataset=digits"], "task=estimation has data of its own"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(words: list[str], message: str, deeprelax: Command) -> None:
    status, _, err = deeprelax(*SHORT, *words)
    assert (status, err.count("\n")) == (1, 1), err
    assert message in err
