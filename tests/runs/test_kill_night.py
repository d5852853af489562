"""Killed again and again, at any moment between start and end: what test_kill.py samples, at length."""

from __future__ import annotations

import random
import subprocess
import time

import pytest

from tests.optimizers import CHOICES
from tests.quick import LONGER, assert_same, finish, start


@pytest.mark.night
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again(seed: int, devices: int) -> None:
    moments, kills = random.Random(f"{seed} {devices}"), 0
    for optimizer, choices in CHOICES.items():
        run = [*LONGER, f"optimizer={optimizer}", *choices, "epochs=40", f"seed={seed}"]
        run.append(f"hardware.devices={devices}")
        began = time.monotonic()
        whole = finish(*run, f"output_dir=whole/{optimizer}")
        length = time.monotonic() - began
        for _ in range(8):
            process = start(*run, f"output_dir=killed/{optimizer}")
            try:
                process.communicate(timeout=moments.uniform(0, length))
                break  # it was quicker than the last time
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate(timeout=60)
                kills += 1
        assert_same(finish(*run, f"output_dir=killed/{optimizer}"), whole)
    assert kills > 6
