"""Test the statistics against numpy and scipy.stats, which are too slow to import for the command itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from deeprelax.reporting.summary import paired_difference, summarize

A = {0: 0.79, 1: 0.64, 2: 0.80, 3: 0.75, 4: 0.71}
B = {0: 0.90, 1: 0.74, 2: 0.88, 3: 0.70, 7: 9.0}


def test_mean_and_sample_deviation_are_numpys() -> None:
    found = summarize(list(A.values()))
    assert found.n == 5
    assert found.mean == pytest.approx(np.mean(list(A.values())), rel=1e-14)
    assert found.std == pytest.approx(np.std(list(A.values()), ddof=1), rel=1e-14)


def test_one_value_has_no_deviation_and_none_no_mean() -> None:
    assert (summarize([3.0]).mean, summarize([3.0]).std) == (3.0, None)
    assert summarize([]) == summarize(())
    assert (summarize([]).n, summarize([]).mean) == (0, None)
    assert summarize([1.0, math.nan]).std is None


def test_the_paired_interval_is_that_of_scipys_paired_t_test_over_the_common_seeds() -> None:
    found = paired_difference(B, A)
    seeds = [0, 1, 2, 3]
    interval = stats.ttest_rel([B[s] for s in seeds], [A[s] for s in seeds]).confidence_interval(0.95)
    assert found.pairs == 4
    assert found.mean == pytest.approx(0.06, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-10)


def test_two_pairs_by_hand() -> None:
    """Student's t with one degree of freedom: the 97.5 % quantile is tan(0.475 pi) = 12.706."""
    found = paired_difference({0: 1.0, 1: 3.0}, {0: 0.0, 1: 0.0})
    assert found.low == pytest.approx(2 - math.tan(0.475 * math.pi), rel=1e-10)


@pytest.mark.parametrize(
    ("values", "why"),
    [({5: 1.0}, "no seed in common"), ({0: 1.0}, "one pair"), ({s: v + 1 for s, v in A.items()}, "all pairs alike")],
)
def test_no_interval_is_made_up(values: dict[int, float], why: str) -> None:
    exact = dict.fromkeys(range(5), 0.5) | {s: round(v * 4) / 4 for s, v in A.items()}  # sums without rounding
    values = {s: exact[s] + 1 for s in values} if why == "all pairs alike" else values
    found = paired_difference(values, exact)
    assert (found.low, found.high, found.why_not) == (None, None, why)


def test_differences_that_are_one_but_for_rounding_have_no_interval() -> None:
    """One image of 360 more in each pair: in binary the two differences are not the same."""
    one = 100 / 360
    baseline = {seed: 100 * wrong / 360 for seed, wrong in enumerate((17, 23, 40))}
    values = {seed: 100 * wrong / 360 for seed, wrong in enumerate((16, 22, 39))}
    assert len({values[seed] - baseline[seed] for seed in values}) > 1
    for resolution in (one, 0.0):  # without it by the digits that single precision has
        found = paired_difference(values, baseline, resolution)
        assert (found.pairs, found.mean, found.low, found.why_not) == (3, pytest.approx(-one), None, "all pairs alike")
    two_apart = paired_difference(values | {2: 100 * 38 / 360}, baseline, one)
    assert two_apart.low is not None
    assert two_apart.low < -one * 4 / 3 < two_apart.high


@pytest.mark.parametrize(("apart", "alike"), [(1e-8, True), (1e-4, False)])
def test_real_numbers_are_alike_to_the_digits_of_single_precision(apart: float, alike: bool) -> None:
    found = paired_difference({0: 0.5, 1: 0.5 + apart}, {0: 0.25, 1: 0.25})
    assert (found.low is None) == alike


def test_values_that_are_not_finite_give_no_difference() -> None:
    found = paired_difference({0: math.inf, 1: 1.0}, {0: 1.0, 1: 1.0})
    assert (found.mean, found.why_not) == (None, "not finite")
