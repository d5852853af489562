"""A run that is killed with SIGKILL and started again equals one that never was: real processes, real signals."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from deeprelax.records import checkpoint
from tests.optim.problems import identical
from tests.optimizers import CHOICES, TRAINED
from tests.quick import LONGER, assert_same, finish, kill_after

RUNS = {**TRAINED, "snoo, chains": ["optimizer=snoo", *CHOICES["snoo"]]}


@pytest.mark.slow
def test_killed_once_and_started_again() -> None:
    run = [*LONGER, "optimizer=entropy_sgd", *CHOICES["entropy_sgd"]]
    kill_after(0.3, *run, "output_dir=killed")
    assert not list(Path("killed").rglob("result.json"))
    assert_same(finish(*run, "output_dir=killed"), finish(*run, "output_dir=whole"))


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("optimizer", RUNS)
def test_killed_at_random_moments(optimizer: str, devices: int) -> None:
    """What is kept for further steps is the same, too: velocities, moments, replicas, of every rank."""
    run = [*LONGER, *RUNS[optimizer], f"hardware.devices={devices}"]
    if optimizer not in CHOICES:
        run.append("hardware.share=chains")  # each rank keeps the state of its own chain
    moments = random.Random(f"{optimizer} {devices}")
    for _ in range(2):  # 100 kills over all optimizers and ranks
        kill_after(moments.uniform(0.0, 1.5), *run, "output_dir=killed")
    directories = finish(*run, "output_dir=killed"), finish(*run, "output_dir=whole")
    assert_same(*directories)
    killed, whole = (checkpoint.load(directory / checkpoint.NAME) for directory in directories)
    for kept in ("optimizer", "ranks"):
        assert identical(killed[kept], whole[kept])
