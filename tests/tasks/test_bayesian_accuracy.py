"""What docs/tasks.md promises of networks with random weights: digits, and a posterior with two modes."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable

import pytest
import torch

from tests.quick import directory
from tests.tasks.bimodal import exact, learned

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.slow
def test_digits_are_read_and_the_probabilities_are_calibrated(deeprelax: Command) -> None:
    """The same seeds give the same result on one kind of machine."""
    results = []
    for seed in (1, 2, 3):
        words = ["experiment=sde_bnn_digits", "optimizer=adamw", "hardware.threads=1", f"seed={seed}"]
        assert deeprelax("train", *words, f"output_dir=seed{seed}")[0] == 0
        results.append(json.loads((directory(f"seed{seed}") / "result.json").read_text()))
    assert statistics.median(each["test_error"] for each in results) < 4
    assert statistics.median(each["test_ece"] for each in results) < 0.03
    assert all(0.5 < each["test_auroc"] <= 1 for each in results)


@pytest.mark.slow
def test_a_learned_drift_finds_both_modes() -> None:
    """One seed. 2,000 paths know a share of a half to 0.011; Euler's steps and the fit leave the rest."""
    found, (grid, density, evidence) = learned(), exact()
    assert abs(float((found.ends > 0).double().mean()) - 0.5) < 0.1
    assert evidence - 0.25 < found.bound < evidence + 0.05  # exact drift, 50 steps: 0.04 under the evidence
    mode = float(grid[density.argmax()].abs())
    near = float(torch.trapezoid(torch.where((grid.abs() - mode).abs() < 0.6, density, 0.0), grid))
    assert float(((found.ends.abs() - mode).abs() < 0.6).double().mean()) > near - 0.1
