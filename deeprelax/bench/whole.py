"""A whole `deeprelax train` against the gradient evaluations in it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..schema import BenchConf
from .images import shape_of
from .steps import Bare
from .timing import seconds


@dataclass(frozen=True, slots=True)
class WholeRun:
    """Of `evaluations` gradient evaluations."""

    evaluations: int
    loop_seconds: float  # result.json's: steps, evaluation of x, records, checkpoints
    process_seconds: float  # imports and loading of the data too
    floor_seconds: float  # the same number of bare passes


def whole_run(conf: BenchConf, overrides: list[str], floor: Bare) -> WholeRun:
    """Train with Entropy-SGD in a process of its own, the floor measured before and after.

    `overrides` choose network, data set and hardware as for the benchmark. Raises UserError with the process's last
    words if it fails.
    """
    device = floor.images.device
    options = [f"dataset.options.{key}={value}" for key, value in shape_of(conf.dataset).items()]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "deeprelax", "train", "dataset=mnist", "model=lenet", *overrides,
            "dataset.name=deeprelax.bench.images:random_images", "dataset.image_size=null", "dataset.train_size=null",
            *options, f"batch_size={conf.batch_size}", f"epochs={conf.whole_run}",
            f"output_dir={folder}",
        ]  # fmt: skip
        floor()
        before = [seconds(floor, device) for _ in range(conf.repeats)]
        finished: list[subprocess.CompletedProcess[str]] = []
        taken = seconds(lambda: finished.append(subprocess.run(command, capture_output=True, text=True)), device)
        floor()
        after = [seconds(floor, device) for _ in range(conf.repeats)]
        if finished[0].returncode:
            words = finished[0].stderr.strip().splitlines() or [f"status {finished[0].returncode}"]
            raise UserError(f"the whole run failed: {words[-1]}")
        result = json.loads(next(Path(folder).rglob("result.json")).read_text())
    evaluations = int(result["gradient_evaluations"])
    bare = statistics.median(before + after) / floor.times
    return WholeRun(evaluations, float(result["seconds"]), taken, bare * evaluations)
