"""provenance.json: where, with what and by which command a run was made."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..tasks.metric import Metric
from .scores import to_json

LIBRARIES = ("deeprelax", "torch", "torchvision", "numpy", "hydra-core", "omegaconf", "scikit-learn")


def provenance(device: torch.device, ranks: int, metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """What is known of this process, without the configuration, and how the scores in result.json are to be read."""
    return {
        "metrics": to_json(metrics),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "ranks": ranks,
        "cuda": torch.version.cuda,
        "commit": commit(),
        "versions": {name: version(name) for name in LIBRARIES},
    }


def device_name(device: torch.device) -> str:
    """ "cpu", or "cuda" with the name of the GPU."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def commit() -> str | None:
    """The commit of the checkout that this package runs from, with + if files were changed since; None if installed."""
    package = Path(__file__).parents[1]
    words = ["git", "-C", str(package), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    tracked = [*words[:3], "ls-files", "--error-unmatch", "cli.py"]
    try:
        subprocess.run(tracked, capture_output=True, check=True)
        return subprocess.run(words, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
