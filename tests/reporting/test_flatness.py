"""Rank correlations between flatness and test score, by hand-made runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeprelax.errors import UserError
from deeprelax.records.directory import RunDirectory
from deeprelax.records.flatness import Asked, numbers, stored
from deeprelax.reporting.flatness import Measured, of_groups, of_ranks, rank


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
    directory.flatness.write_text('{"hessian": {"eigenvalues": []}}')
    with pytest.raises(UserError, match=r"flatness\.json is corrupt"):
        numbers(stored(directory), directory)
    assert json.loads(json.dumps(Asked().to_json())) == Asked().to_json()
