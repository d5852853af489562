"""A run that is killed with SIGKILL and started again equals one that never was: real processes, real signals."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from deeprelax.records import checkpoint

QUICK = [
    "hardware.threads=1", "hardware.device=cpu", "dataset.train_size=400", "batch_size=32", "train.bn_batches=2",
    "train.record_every=0.5", "train.evaluate_every=8", "train.checkpoint_every=0.2", "dataset.augment=flip_crop",
]  # fmt: skip
FEW = {"entropy_sgd": ["optimizer.inner_steps=5"], "hj_proximal": ["optimizer.inner_steps=5"]}


def start(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "deeprelax", "train", *QUICK, *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ.copy())


def finish(*arguments: str) -> Path:
    """Run to the end; the run's directory."""
    assert start(*arguments).wait(300) == 0
    root = next(word.partition("=")[2] for word in arguments if word.startswith("output_dir="))
    (result,) = Path(root).rglob("result.json")
    return result.parent


def kill_after(seconds: float, *arguments: str) -> None:
    """Start, wait for the first checkpoint and then some, kill with everything it has started."""
    root = Path(next(word.partition("=")[2] for word in arguments if word.startswith("output_dir=")))
    process = start(*arguments)
    while process.poll() is None and not list(root.rglob(checkpoint.NAME)):
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait(60)


def contents(directory: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, object]], dict[str, object]]:
    """Weights, records and result, without times."""

    def plain(line: str) -> dict[str, object]:
        return {key: value for key, value in json.loads(line).items() if "second" not in key}

    state = checkpoint.load(directory / checkpoint.NAME)
    records = [plain(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return state["model"], records, plain((directory / "result.json").read_text())


def assert_same(one: Path, other: Path) -> None:
    (weights, *rest), (weights_too, *rest_too) = contents(one), contents(other)
    assert all(torch.equal(weights[key], weights_too[key]) for key in weights)
    assert rest == rest_too


@pytest.mark.slow
def test_killed_once_and_started_again() -> None:
    run = ["optimizer=entropy_sgd", *FEW["entropy_sgd"], "epochs=12"]
    kill_after(0.3, *run, "output_dir=killed")
    assert not list(Path("killed").rglob("result.json"))
    assert_same(finish(*run, "output_dir=killed"), finish(*run, "output_dir=whole"))


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("optimizer", ["sgd", "entropy_sgd", "hj", "hj_proximal", "heat", "pde_relaxed"])
def test_killed_at_random_moments(optimizer: str, devices: int) -> None:
    run = [f"optimizer={optimizer}", *FEW.get(optimizer, []), "epochs=12", f"hardware.devices={devices}"]
    moments = random.Random(f"{optimizer} {devices}")
    for _ in range(2):  # 24 kills over all optimizers and ranks
        kill_after(moments.uniform(0.0, 1.5), *run, "output_dir=killed")
    assert_same(finish(*run, "output_dir=killed"), finish(*run, "output_dir=whole"))
