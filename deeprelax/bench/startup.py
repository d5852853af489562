"""Seconds from the start of a process to its first step: `python -m deeprelax.bench.startup KEY=VALUE ...`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

STARTED = "DEEPRELAX_BENCH_STARTED"
COMMANDS = {
    "import torch": ["-c", "import torch"],
    "deeprelax --help": ["-m", "deeprelax", "--help"],
    "first step of deeprelax train": ["-m", "deeprelax.bench.startup"],
}


def startup_seconds(repeats: int) -> dict[str, float]:
    """Medians over new processes; the last one trains on the embedded digits and ends after the first gradient."""
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in repeats * list(COMMANDS.items()):
            began = time.time()
            done = subprocess.run(
                [sys.executable, *arguments], capture_output=True, check=True, cwd=folder,
                env={**os.environ, STARTED: str(began)},
            )  # fmt: skip
            printed = done.stdout.split()
            found[name].append(float(printed[-1]) if arguments[-1] == __name__ else time.time() - began)
    return {name: statistics.median(times) for name, times in found.items()}


def main() -> None:
    """Run `deeprelax train` to its first gradient, print the seconds since $DEEPRELAX_BENCH_STARTED, and stop there."""
    import torch

    from ..cli import main as deeprelax
    from ..training.objective import Objective

    original = Objective.__call__

    def call(self: Objective) -> object:
        original(self)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        print(time.time() - float(os.environ[STARTED]), flush=True)
        os._exit(0)

    Objective.__call__ = call  # type: ignore[assignment, method-assign]
    sys.exit(deeprelax(["train"]))


if __name__ == "__main__":
    main()
