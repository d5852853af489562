"""Two ranks on one GPU, over gloo, which takes CUDA tensors: `python -m tests.gpu.two_on_one train KEY=VALUE ...`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from deeprelax.cli import main
from deeprelax.parallel import launch
from deeprelax.parallel.ranks import Ranks
from deeprelax.runs import build, peers, rank

DEVICE = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def join(ranks: Ranks, device: torch.device, store: Any = None) -> Any:
    """As the library's, but over gloo on any device; tells that it was called."""
    dist.init_process_group("gloo", store=store, rank=ranks.rank, world_size=ranks.world)
    if ranks.main:
        Path(os.environ["JOINED"]).write_text(f"{dist.get_backend()} {ranks.world}")
    return store


def again(module: str, *words: str) -> list[str]:
    """The command of a rank: this module, given the run's directory."""
    return [sys.executable, "-m", "tests.gpu.two_on_one", *words]


if __name__ == "__main__":
    build.choose_device = lambda conf, ranks=None: DEVICE
    build.count_gpus = lambda conf, ranks=None: int(DEVICE.type == "cuda")  # not a GPU for each rank
    peers.join = join
    if Path(sys.argv[1]).is_dir():
        status = rank.main(Path(sys.argv[1]))
        sys.stdout.flush()
        os._exit(status)
    launch.command_for = again
    sys.exit(main(sys.argv[1:]))
