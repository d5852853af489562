"""What physics-informed networks reach with AdamW: the figures that docs/tasks.md promises."""

from __future__ import annotations

import json
import statistics

import pytest

from tests.quick import finish


def errors(experiment: str, seeds: range, *words: str) -> list[float]:
    """test_relative_l2 of each seed."""
    found = []
    for seed in seeds:
        run = [f"experiment={experiment}", "optimizer=adamw", f"seed={seed}", "hardware.threads=1", *words]
        directory = finish(*run, f"output_dir={experiment}-{seed}-{len(words)}")
        found.append(float(json.loads((directory / "result.json").read_text())["test_relative_l2"]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "most"), [("pinn_heat", 1e-3), ("pinn_convection", 3e-2)])
def test_three_thousand_gradients_are_enough(experiment: str, most: float) -> None:
    assert statistics.median(errors(experiment, range(1, 4))) < most


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mlp_field", "gated_mlp"])
def test_both_networks_solve_the_oscillator(network: str) -> None:
    assert statistics.median(errors("pinn_oscillator", range(1, 4), f"model={network}")) < 5e-2


@pytest.mark.night
def test_burgers_in_fifteen_thousand_gradients() -> None:
    assert statistics.median(errors("pinn_burgers", range(1, 4))) < 5e-2
