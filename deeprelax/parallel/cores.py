"""How many threads a process should compute with: OMP_NUM_THREADS, else its share of the cores that it may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

MOST = 4096  # threads, as in the schema of hardware.threads


def threads(ranks: int = 1, root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> int:
    """Threads of this process, at least 1, where nothing is configured.

    OMP_NUM_THREADS, as OpenMP means it: of each process, and of a list (nested levels) the first number; a value that
    OpenMP would not take is skipped. Without it, the cores divided by the `ranks` of this machine. Cores are those
    of the affinity mask (taskset, a cpuset, Slurm), or fewer by the CPU quota of the cgroup (a container's limit) of
    this process and of the cgroups above it, rounded up. root: where /proc and the cgroups' files are looked for.
    """
    first = environment.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if first.isdecimal() and 1 <= int(first) <= MOST:
        return int(first)
    mask = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = min([mask, *map(math.ceil, _quotas(root))])
    return max(1, cores // ranks)


def _quotas(root: Path) -> Iterator[float]:
    """The CPU quotas, in CPUs, of this process's cgroups and of those above them, as far as they can be seen."""
    with suppress(OSError, ValueError):
        paths: dict[str, str] = {}  # of version 1 by the controller, of version 2 by ""
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            paths |= dict.fromkeys(controllers.split(","), path)
        for line in (root / "proc/self/mountinfo").read_text().splitlines():
            mount, _, system = line.partition(" - ")
            kind, _, options = system.split(" ", 2)
            name = {"cgroup": "cpu", "cgroup2": ""}.get(kind)
            if name in paths and (kind == "cgroup2" or "cpu" in options.split(",")):
                *_, inside, point = mount.split(" ")[:5]
                yield from _upwards(root / point.lstrip("/"), _below(paths[name], inside))


def _below(path: str, inside: str) -> str:
    """A cgroup's folder below the mount point, where the cgroup `inside` is mounted.

    A container sees its own cgroup mounted, under which the path that the host knows is not to be found.
    """
    folder = os.path.relpath(path, inside)
    return "." if folder.startswith("..") else folder


def _upwards(mounted: Path, folder: str) -> Iterator[float]:
    here = mounted / folder
    for cgroup in [here, *here.parents]:
        with suppress(OSError, ValueError):
            if (cgroup / "cpu.max").is_file():
                quota, period = (cgroup / "cpu.max").read_text().split()  # of which the first may be "max"
            else:
                quota, period = ((cgroup / f"cpu.cfs_{each}_us").read_text() for each in ("quota", "period"))
            if float(quota) > 0 and float(period) > 0:  # -1: none
                yield float(quota) / float(period)
        if cgroup == mounted:
            return
