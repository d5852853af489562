"""Measure a complete `deeprelax train` against the gradient evaluations in it.

The run has a process of its own, `python -m deeprelax.bench.whole train KEY=VALUE ...`, in which bare passes stand
between its evaluations, all along: where others share the machine, its speed before and after the run is another one.
"""

from __future__ import annotations

import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from ..cli import main as deeprelax
from ..configuration.schema import BenchConf
from ..errors import UserError
from ..parallel.launch import command_for
from ..training.objective import Objective
from .images import shape_of
from .steps import Bare
from .timing import seconds, wait

EVERY, PASSES = 60, 8  # evaluations of the run between two measurements of the floor; passes of one
FLOORS = "DEEPRELAX_BENCH_FLOORS"


@dataclass(frozen=True, slots=True)
class WholeRun:
    """Times of a run of `evaluations` gradient evaluations, in seconds, without those of the floor's measurements."""

    evaluations: int
    loop_seconds: float  # those of result.json: steps, evaluation of x, records, checkpoints
    process_seconds: float  # imports and loading of the data too
    floor_seconds: float  # the same number of bare passes


def whole_run(conf: BenchConf, overrides: list[str]) -> WholeRun:
    """Train with Entropy-SGD on random images, in a process of its own.

    overrides: those that choose network, data set and hardware for the benchmark. Raises UserError with the last line
    of the process's standard error if it fails.
    """
    options = [f"dataset.options.{key}={value}" for key, value in shape_of(conf.dataset).items()]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *command_for("deeprelax.bench.whole", "train", "dataset=mnist", "model=lenet"), *overrides,
            "dataset.name=deeprelax.bench.images:random_images", "dataset.image_size=null", "dataset.train_size=null",
            *options, f"batch_size={conf.batch_size}", f"epochs={conf.whole_run}",
            f"output_dir={folder}",
        ]  # fmt: skip
        file = Path(folder) / "floors.json"
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, FLOORS: str(file)})
        taken = time.perf_counter() - began
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
            raise UserError(f"the whole run failed: {lines[-1]}")
        result = json.loads(next(Path(folder).rglob("result.json")).read_text())
        floors: dict[str, list[float]] = json.loads(file.read_text())
    evaluations = int(result["gradient_evaluations"])
    bare = statistics.fmean(floors["seconds"]) / PASSES
    spent = sum(floors["spent"])
    return WholeRun(evaluations, float(result["seconds"]) - spent, taken - spent, bare * evaluations)


@dataclass(slots=True)
class Between:
    """Times bare passes of a copy of the network between the evaluations of a run.

    seconds: of the passes. spent: seconds of everything done here, which are taken off the run's.
    """

    seconds: list[float] = field(default_factory=list)
    spent: list[float] = field(default_factory=list)
    floor: Bare | None = None

    def measure(self, objective: Objective) -> None:
        """Measure, once in EVERY evaluations. A hook of the objective, called before each of them."""
        if objective.evaluations % EVERY:
            return
        device = objective.task.setting.device
        wait(device)  # what the run has launched is the run's
        began = time.perf_counter()
        if self.floor is None:
            # a copy of the network alone: the data stay where they are
            loss = copy.deepcopy(objective.loss, {id(objective.task): objective.task})
            self.floor = Bare(loss, objective.task, PASSES, graphs=objective.graphs)
            self.floor()  # the first passes are slower: torch chooses algorithms and captures the graph
        self.floor.once()  # unmeasured: the run's own evaluations have displaced the copy's weights from the caches
        self.seconds.append(seconds(self.floor, device))
        self.spent.append(time.perf_counter() - began)


def main(arguments: list[str]) -> int:
    """Run deeprelax with these arguments and write the floors to the file that $DEEPRELAX_BENCH_FLOORS names."""
    between = Between()
    Objective.before_each.append(between.measure)
    status = deeprelax(arguments)
    Path(os.environ[FLOORS]).write_text(json.dumps({"seconds": between.seconds, "spent": between.spent}))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
