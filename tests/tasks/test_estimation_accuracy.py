"""What estimation reaches with AdamW: the figures that docs/tasks.md promises."""

from __future__ import annotations

import json
import statistics
from typing import Any

import pytest

from tests.quick import finish


def results(experiment: str, seeds: range) -> list[dict[str, Any]]:
    """result.json of each seed."""
    found = []
    for seed in seeds:
        run = [f"experiment={experiment}", "optimizer=adamw", f"seed={seed}", "hardware.threads=1"]
        found.append(json.loads((finish(*run, f"output_dir={experiment}-{seed}") / "result.json").read_text()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "most", "terms"),
    [("estimate_hjb", 0.05, {"u_t", "u_xx", "u_x**2"}), ("estimate_wave", 0.03, {"u_tt", "u_xx"})],
)
def test_the_true_terms_are_found_in_the_median_of_five_seeds(experiment: str, most: float, terms: set[str]) -> None:
    found = results(experiment, range(1, 6))
    assert sum(set(each["coefficients"]) == terms for each in found) >= 3
    assert statistics.median(each["test_coefficient_error"] for each in found) < most


@pytest.mark.slow
def test_the_network_is_nearly_as_good_as_maximum_likelihood() -> None:
    """On the same data: the noise of both is the same, so that of their ratio is small."""
    found = results("estimate_ode", range(1, 11))
    ours, best = (sum(each[key] ** 2 for each in found) for key in ("test_coefficient_error", "maximum_likelihood"))
    assert ours <= 1.5 * best


@pytest.mark.slow
def test_the_rival_finds_the_equation_without_noise_and_not_with_it() -> None:
    pytest.importorskip("pysindy", reason="pysindy is not installed: pip install -e '.[rivals]'")
    from tests.tasks.sindy import error

    assert error("hjb", 0.0, 1) < 0.01
    assert error("wave", 0.0, 1) < 0.01
    assert error("hjb", 0.316, 1) > 0.5
