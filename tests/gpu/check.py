"""What one call on a machine with one GPU finds out, in about six minutes: `make check-gpu`.

    python -m tests.gpu.check [PART ...]

Every part is a process of its own with a time limit; one that fails prints a line that begins with FAILED, and the
others go on. Those that compare numbers run side by side, those that measure times afterwards, alone. Each line is
printed at once, and all of them are in $OUT/check-gpu.json (without OUT in the working folder). Exit status 1 if
anything failed. On a CPU it runs too, with small sizes and without graphs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import torch

from . import findings, parts

NUMBERS = {parts.graphs: 170, parts.two_ranks: 150, parts.marked: 170}  # part to its limit in seconds
TIMES = {parts.waits: 60, parts.passes: 40, parts.whole: 120, parts.bench_lenet: 140, parts.bench_wrn: 100}
PARTS = {part.__name__: part for part in (*NUMBERS, *TIMES)}


def part(name: str, limit: float, began: float) -> list[str]:
    """Run a part in a process of its own, its lines printed as they come."""
    found = []
    command = [sys.executable, "-m", "tests.gpu.check", "--here", name]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process,
        ThreadPoolExecutor(1) as timer,
    ):
        ended = timer.submit(_end_in_time, process, limit)
        assert process.stdout is not None
        rest = []
        for line in process.stdout:
            if line.startswith(("{", "FAILED ")):
                found.append(line.strip())
                _print(began, line.strip())
            else:
                rest.append(line.strip())
        if problem := ended.result():
            found.append("FAILED " + json.dumps({"what": name, "error": problem, "says": rest[-8:]}))
            _print(began, found[-1])
    return found


def _print(began: float, line: str) -> None:
    print(line if line.startswith("FAILED") else f"{time.perf_counter() - began:4.0f} s  {line}", flush=True)


def _end_in_time(process: subprocess.Popen[str], limit: float) -> str:
    try:
        status = process.wait(limit)
    except subprocess.TimeoutExpired:
        process.kill()
        return f"took more than {limit:.0f} s"
    return f"status {status}" if status else ""


def main(names: list[str]) -> int:
    """Run these parts, or all."""
    began, found = time.perf_counter(), list[str]()
    findings.folder().mkdir(parents=True, exist_ok=True)
    if unknown := [name for name in names if name not in PARTS]:
        print(f"{unknown[0]} is no part: one of {', '.join(PARTS)}", file=sys.stderr)
        return 1
    wanted = names or list(PARTS)
    _print(began, json.dumps({"what": "torch", "torch": torch.__version__, "device": _device()}))
    beside = {p.__name__: limit for p, limit in NUMBERS.items() if p.__name__ in wanted}
    alone = {p.__name__: limit for p, limit in TIMES.items() if p.__name__ in wanted}
    with ThreadPoolExecutor(len(beside) or 1) as pool:
        for lines in pool.map(lambda item: part(*item, began), beside.items()):
            found += lines
    for name, limit in alone.items():
        found += part(name, limit, began)
    failed = [line for line in found if line.startswith("FAILED ")]
    content = [json.loads(line.removeprefix("FAILED ")) | {"failed": line in failed} for line in found]
    (findings.folder() / "check-gpu.json").write_text(json.dumps(content, indent=1))
    print(f"{len(found) - len(failed)} findings, {len(failed)} failed, {time.perf_counter() - began:.0f} s")
    return 1 if failed else 0


def _device() -> str:
    return torch.cuda.get_device_name(0) if parts.GPU else "CPU"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        PARTS[sys.argv[2]]()
        sys.exit(0)
    sys.exit(main(sys.argv[1:]))
