"""Ask how much memory there is."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch

MEMINFO, GROUP, GROUPS = Path("/proc/meminfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def available(device: torch.device) -> int | None:
    """Bytes that this process may still take: on a GPU, with what torch has cached there; else of the machine and of
    its cgroup (version 2).

    None where the system does not tell.
    """
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    found = [bytes_ for bytes_ in (_of_machine(), _of_group()) if bytes_ is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    try:
        fields = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _of_group() -> int | None:
    """Of the cgroup and those above it, whose limits hold too."""
    try:
        path = next(line for line in GROUP.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    folder, left = GROUPS / path.removeprefix("0::").lstrip("/"), []
    for each in (folder, *folder.parents):
        with suppress(OSError, ValueError, KeyError):  # also where the limit is "max"
            limit, used = (int((each / name).read_text()) for name in ("memory.max", "memory.current"))
            cache = dict(line.split() for line in (each / "memory.stat").read_text().splitlines())["inactive_file"]
            left.append(limit - used + int(cache))  # the cache of files gives way
        if each == GROUPS:
            break
    return min(left, default=None)
