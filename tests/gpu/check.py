"""What one call on a machine with one GPU finds out, in six minutes: `make check-gpu`.

    python -m tests.gpu.check [PART ...]

Every part is a process of its own with a time limit, six minutes in all; one that fails prints a line that begins with
FAILED, and the others go on. Those that compare numbers run side by side, those that measure times afterwards, alone.
Each line is printed at once and is then in $OUT/check-gpu.json (without OUT in the working folder). Exit status 1 if
anything failed. On a CPU it runs too, with small sizes and without graphs. The parts MORE run only if they are named.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from . import parts, times

NUMBERS = {parts.graphs: 140, parts.compiled: 140, parts.two_ranks: 140, parts.marked: 140}  # to the limit in seconds
TIMES = {times.waits: 50, times.bench_lenet: 110, times.bench_wrn: 60}
MORE = {times.passes: 60, times.whole: 150}
PARTS = {part.__name__: part for part in (NUMBERS | TIMES | MORE)}
LIMITS = {part.__name__: limit for part, limit in (NUMBERS | TIMES | MORE).items()}
SIDE_BY_SIDE = [part.__name__ for part in NUMBERS]


class Findings:
    """The lines so far: each is shown, and in the file, before the next comes."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._began, self._lock = time.perf_counter(), Lock()
        self._file = Path(os.environ.get("OUT", ".")) / "check-gpu.json"
        self._file.parent.mkdir(parents=True, exist_ok=True)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    @property
    def failed(self) -> int:
        return sum(line.startswith("FAILED ") for line in self.lines)

    def add(self, line: str) -> None:
        """A finding as JSON, behind FAILED if it is none to be glad of."""
        with self._lock:
            self.lines.append(line)
            print(line if line.startswith("FAILED ") else f"{self.seconds:4.0f} s  {line}", flush=True)
            content = [json.loads(each.removeprefix("FAILED ")) for each in self.lines]
            for each, of in zip(content, self.lines, strict=True):
                each["failed"] = of.startswith("FAILED ")
            self._file.write_text(json.dumps(content, indent=1))

    def add_failure(self, **told: Any) -> None:
        self.add("FAILED " + json.dumps(told))


def part(name: str, limit: float, findings: Findings) -> None:
    """Run a part in a process of its own, whose lines are findings; too late, it is ended with all that it started."""
    command = [sys.executable, "-m", "tests.gpu.check", "--here", name]
    pipe, rest = subprocess.PIPE, list[str]()
    with (
        subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True) as process,
        ThreadPoolExecutor(1) as timer,
    ):
        ended = timer.submit(_end_in_time, process, limit)
        assert process.stdout is not None
        for line in map(str.strip, process.stdout):
            if line.startswith(("{", "FAILED {")):
                findings.add(line)
            else:
                rest.append(line)
        if problem := ended.result():
            findings.add_failure(what=name, error=problem, says=rest[-8:])


def _end_in_time(process: subprocess.Popen[str], limit: float) -> str:
    try:
        status = process.wait(limit)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its session: runs that it has started would go on
        return f"took more than {limit:g} s"
    return f"status {status}" if status else ""


def main(names: list[str]) -> int:
    """Run these parts, or all but MORE."""
    if unknown := [name for name in names if name not in LIMITS]:
        print(f"{unknown[0]} is no part: one of {', '.join(LIMITS)}", file=sys.stderr)
        return 1
    wanted = names or [each.__name__ for each in (*NUMBERS, *TIMES)]
    findings = Findings()
    device = torch.cuda.get_device_name(0) if parts.GPU else "CPU"
    findings.add(json.dumps({"what": "torch", "torch": torch.__version__, "device": device}))
    beside = [name for name in wanted if name in SIDE_BY_SIDE]
    with ThreadPoolExecutor(len(beside) or 1) as pool:
        list(pool.map(lambda name: part(name, LIMITS[name], findings), beside))
    for name in wanted:
        if name not in beside:
            part(name, LIMITS[name], findings)
    print(f"{len(findings.lines) - findings.failed} findings, {findings.failed} failed, {findings.seconds:.0f} s")
    return 1 if findings.failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        PARTS[sys.argv[2]]()
        sys.exit(0)
    sys.exit(main(sys.argv[1:]))
