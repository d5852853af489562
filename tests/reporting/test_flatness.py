"""Rank correlations between flatness and test score, by hand-made runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from deeprelax.errors import UserError
from deeprelax.records.directory import RunDirectory
from deeprelax.records.flatness import Asked, comparable, numbers, of_checkpoint, stored
from deeprelax.reporting.flatness import Measured, _taus, of_groups, of_ranks, of_run, rank


def test_tau_by_hand() -> None:
    """Of 6 pairs of 4 runs, 5 in order and 1 not; two pairs have matched losses."""
    found = rank([1, 2, 3, 4], [1, 3, 2, 4], [1.0, 1.05, 2.0, 2.1])
    assert (found.n, found.pairs) == (4, 2)
    assert found.tau == pytest.approx((5 - 1) / 6)
    assert found.matched == 1.0
    assert (found.low, found.high) == (None, None)  # four runs are too few
    assert rank([1, 2], [1, 2], [1, 2]).pairs == 0
    assert rank([1, 2], [1, 2], [1, 2]).matched is None
    assert rank([1, 1, 1], [1, 2, 3], [1, 1, 1]).tau is None


def test_the_bootstrap_holds_tau_and_is_seeded() -> None:
    x, y = list(range(12)), [0, 2, 1, 3, 5, 4, 8, 6, 7, 11, 9, 10]
    found = rank(x, y, x)
    assert found.low is not None
    assert found.high is not None
    assert found.tau is not None
    assert 0 < found.low < found.tau < found.high <= 1
    assert rank(x, y, x) == found
    assert rank(x, y, x, seed=1).low == pytest.approx(found.low, abs=0.1)
    perfect = rank(x, x, x)
    assert perfect.tau == pytest.approx(1)
    assert perfect.low is None  # a bootstrap of it would say [1, 1]


def test_the_bootstrap_is_that_of_scipys_tau_with_ties() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.integers(4, size=9).astype(float), generator.normal(size=9)
    draws = np.vstack([generator.integers(9, size=(50, 9)), np.zeros((1, 9), dtype=int)])
    expected = [kendalltau(x[i], y[i]).statistic for i in draws]
    assert _taus(x, y, draws) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_a_mean_over_fewer_runs_than_the_group_has_says_so() -> None:
    runs = [Measured("sgd", 0.1, 2.0, {"one": 1.0 + i} | ({"two": 3.0} if i else {})) for i in range(2)]
    lines = [line.split() for line in of_groups(runs, "test_error").splitlines()]
    assert ["one", "1.5", "+-", "0.7071"] in lines
    assert ["two", "3", "(n", "1)"] in lines


def test_what_was_measured_otherwise_or_of_other_weights_is_not_compared(tmp_path: Path) -> None:
    directories = []
    for i, (images, seed) in enumerate([(50, 0), (50, 0), (20, 0), (50, 1), (50, 0), (50, 0)]):
        directory = RunDirectory(tmp_path / str(i))
        directory.path.mkdir()
        directory.checkpoint.write_bytes(b"weights")
        content = {"images": images, "loss": 1.0, "hessian": {"eigenvalues": [1.0 + i], "trace": 7.0},
                   "asked": Asked(seed=seed).to_json(), "checkpoint": of_checkpoint(directory)}  # fmt: skip
        directory.flatness.write_text(json.dumps(content))
        directories.append(directory)
    for file, content in ((directories[4].checkpoint, "other weights"), (directories[5].flatness, "{")):
        file.write_text(content)
    later = directories[4].flatness.stat().st_mtime + 10
    os.utime(directories[4].checkpoint, (later, later))
    found, why = comparable(directories)
    assert {path.name: values["Hessian top"] for path, values in found.items()} == {"0": 1.0, "1": 2.0}
    assert {path.name: text.split(": measure")[0] for path, text in why.items() if path.name != "5"} == {
        "2": "its flatness was measured with images=20, weights=last, dtype=float32, seed=0, temperature=None, "
        "entropy_images=2000, not images=50, weights=last, dtype=float32, seed=0, temperature=None, "
        "entropy_images=2000",
        "3": "its flatness was measured with images=50, weights=last, dtype=float32, seed=1, temperature=None, "
        "entropy_images=2000, not images=50, weights=last, dtype=float32, seed=0, temperature=None, "
        "entropy_images=2000",
        "4": "its flatness.json is of other weights than it has now",
    }
    assert "corrupt" in why[directories[5].path]


def test_text() -> None:
    runs = [Measured("sgd" if i < 4 else "hj", 0.1 * (1 + i), 2.0 + i, {"Hessian top": 10.0 - i}) for i in range(8)]
    table = of_groups(runs, "test_error").splitlines()
    assert table[0].split() == ["mean", "over", "n", "runs", "sgd", "hj"]
    assert table[3].split()[:4] == ["test", "error", "3.5", "+-"]
    text = of_ranks(runs, "test_error")
    assert "matched" in text  # the losses differ
    (line,) = (line.split() for line in text.splitlines() if "Hessian top" in line)
    assert line[2:4] == ["8", "-1.00"]
    assert "2302.07011" in text
    assert "matched" not in of_ranks([Measured("a", 1.0, float(i), {"t": i * 1.0}) for i in range(3)], "test_error")
    assert "three are needed" in of_ranks(runs[:2], "test_error")


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [(0.151992, 4.041e-5, "0.15199"), (0.151992, 0.2, "0.152"), (1.25, 0.0, "1.25"), (None, None, "-"),
     (-2.0000123, 3e-6, "-2.000012"), (0.5, 0.01, "0.5")],
)  # fmt: skip
def test_local_entropy_has_the_digits_that_its_error_leaves(value: float, error: float, text: str) -> None:
    point = {"gamma": 0.1, "value": value, "error": error, "converged": value is not None, "reason": "",
             "temperature": 1.0}  # fmt: skip
    how = dict.fromkeys(("loss", "gradient_norm", "local_entropy_loss"), 1.0) | dict.fromkeys(
        ("parameters", "images", "examples", "which", "batch_norm", "dtype", "seed", "local_entropy_images"), "1"
    )
    (line,) = (line for line in of_run("run", how | {"local_entropy": [point]}).splitlines() if "entropy 0.1" in line)
    assert line.split()[3] == text


def test_numbers_of_a_file(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    assert stored(directory) == {}
    points = [{"gamma": 0.1, "value": 0.5, "converged": True}, {"gamma": 1.0, "value": None, "converged": False}]
    content = {
        "hessian": {"eigenvalues": [3.0, None], "trace": 7.0},
        "sharpness": {"ball": {"value": 0.25}},
        "local_entropy": points,
        "local_entropy_loss": 0.2,
    }
    directory.flatness.write_text(json.dumps(content))
    assert numbers(stored(directory), directory) == pytest.approx(
        {"Hessian top": 3.0, "Hessian trace": 7.0, "sharpness ball": 0.25, "local entropy 0.1": 0.3}
    )
    for text in ('{"hessian": {"eigenvalues": []}}', '{"asked": 3}', "[]", "{"):
        directory.flatness.write_text(text)
        with pytest.raises(UserError, match=r"flatness\.json is corrupt: deeprelax flatness .* measures it again"):
            numbers(stored(directory), directory)
    assert json.loads(json.dumps(Asked().to_json())) == Asked().to_json()
