"""Runs that take a second, in this process or in one of their own, and what they leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from deeprelax.configuration.check import checked
from deeprelax.records import checkpoint
from deeprelax.runs.run import run

# dropout and batch norm are in LeNet, the default network
QUICK = [
    "hardware.threads=1", "hardware.device=cpu", "dataset.train_size=200", "batch_size=32", "train.bn_batches=2",
    "epochs=6",
]  # fmt: skip
RUN = ["train", *QUICK, "optimizer=sgd"]
# long enough to be killed or stopped in the middle, with checkpoints all along
LONGER = [
    *QUICK, "dataset.train_size=400", "epochs=12", "train.record_every=0.5", "train.evaluate_every=8",
    "train.checkpoint_every=0.2", "dataset.augment=flip_crop",
]  # fmt: skip


def directory(root: str | Path = "outputs") -> Path:
    """The directory of the one run under this folder."""
    (file,) = Path(root).rglob("config.yaml")
    return file.parent


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """`deeprelax train` with these overrides in a process of its own."""
    command = [sys.executable, "-m", "deeprelax", "train", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


def finish(*arguments: str) -> Path:
    """Run to the end; the run's directory. One of the arguments is output_dir=FOLDER."""
    process = start(*arguments)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return directory(_root(arguments))


def kill_after(seconds: float, *arguments: str) -> None:
    """Start, wait for the first checkpoint and then some, kill with everything it has started."""
    process = start(*arguments)
    while process.poll() is None and not list(Path(_root(arguments)).rglob(checkpoint.NAME)):
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)


def _root(arguments: tuple[str, ...]) -> str:
    return next(word.partition("=")[2] for word in arguments if word.startswith("output_dir="))


def wait_for(
    condition: Callable[[], object], process: subprocess.Popen[str] | None = None, seconds: float = 60
) -> None:
    """Until the condition holds; fails if that takes too long, or the process ends before."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def without_times(record: dict[str, Any]) -> dict[str, Any]:
    """A record or result without what differs from run to run."""
    return {key: value for key, value in record.items() if "second" not in key}


def contents(directory: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]], dict[str, Any]]:
    """Weights, records and result, without times."""
    state = checkpoint.load(directory / checkpoint.NAME)
    records = [without_times(json.loads(line)) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return state["model"], records, without_times(json.loads((directory / "result.json").read_text()))


def assert_same(one: Path, other: Path) -> None:
    """Two runs are equal bit for bit, but for times."""
    (weights, *rest), (weights_too, *rest_too) = contents(one), contents(other)
    assert all(torch.equal(weights[key], weights_too[key]) for key in weights)
    assert rest == rest_too


def train(compose: Callable[..., DictConfig], directory: Path, *overrides: str) -> dict[str, Any]:
    """A quick run in this process, in this directory; its result."""
    config = compose(*QUICK, *overrides)
    return run(checked(config), config, directory)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows: steps and values of each curve."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
