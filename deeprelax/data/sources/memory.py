"""Ask how much memory there is for images."""

from __future__ import annotations

from pathlib import Path

import torch

MEMINFO, GROUP, GROUPS = Path("/proc/meminfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def available(device: torch.device) -> int | None:
    """Bytes that this process may still take: free on a GPU, else of the machine and of its cgroup (version 2).

    None where the system does not tell.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = [bytes_ for bytes_ in (_of_machine(), _of_group()) if bytes_ is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    try:
        fields = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _of_group() -> int | None:
    try:
        path = next(line for line in GROUP.read_text().splitlines() if line.startswith("0::"))
        folder = GROUPS / path.removeprefix("0::").lstrip("/")
        limit, used = (int((folder / name).read_text()) for name in ("memory.max", "memory.current"))
        cache = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())["inactive_file"]
        return limit - used + int(cache)  # the cache of files gives way
    except (OSError, ValueError, KeyError, StopIteration):  # also where the limit is "max"
        return None
