"""The optimizers in programs that are not ours, on gloo ranks; `test_library.py` starts `main` in each of them.

ZeroRedundancyOptimizer and plain DDP; `fsdp_job.py` has FSDP2. A job returns what the test looks at.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

from deeprelax.optim import EntropySGD, Relaxation
from tests.optim.test_reference import network
from tests.optimizers import OPTIMIZERS

STEPS, BATCH = 3, 8


class Part:
    """A closure on this rank's part of the next of a sequence of seeded batches."""

    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer, rank: int = 0, world: int = 1) -> None:
        self.net, self.optimizer, self.calls = net, optimizer, 0
        self.mine = slice(rank * BATCH // world, (rank + 1) * BATCH // world)

    def __call__(self) -> Tensor:
        self.calls += 1
        return self.again()

    def again(self) -> Tensor:
        """On the batch of the last call."""
        generator = torch.Generator().manual_seed(self.calls - 1)
        images = torch.randn(BATCH, 3, 5, 5, generator=generator).double()[self.mine]
        labels = torch.randint(4, (BATCH,), generator=generator)[self.mine]
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.net(images), labels)
        loss.backward()
        return loss


def whole(net: nn.Module) -> list[Tensor]:
    return [p.detach().full_tensor() if hasattr(p, "full_tensor") else p.detach().clone() for p in net.parameters()]


def built(name: str, net: nn.Module, world: int) -> Relaxation:
    """With the loss of the whole batch, by which PME's steps go, on all ranks."""
    optimizer = OPTIMIZERS[name].build(net.parameters())
    if world > 1:
        optimizer.reduce_loss = lambda loss: dist.all_reduce(loss.div_(world))
    return optimizer


def refused(rank: int, world: int) -> str:
    try:
        ZeroRedundancyOptimizer(network(torch.float64).parameters(), optimizer_class=EntropySGD)
    except ValueError as error:
        return str(error)
    return ""


def data_parallel(rank: int, world: int) -> dict[str, list[Tensor]]:
    """Plain DDP with an infinite loss on rank 1 in the second step: as it comes, and with the one-line all-reduce."""
    found = {}
    for agreed in (False, True):
        net = network(torch.float64)
        optimizer = EntropySGD(net.parameters(), inner_steps=2)
        if agreed:
            optimizer.reduce_direction = lambda tensors: dist.all_reduce(tensors[-1])
        batches = Part(DistributedDataParallel(net), optimizer, rank, world)
        for step in range(3):
            bad = rank == 1 and step == 1
            optimizer.step(lambda bad=bad, batches=batches: batches() * (math.inf if bad else 1.0))
        found["agreed" if agreed else "as it comes"] = whole(net)
    return found


def by_the_loss(rank: int, world: int) -> dict[str, Any]:
    """PME under plain DDP, its loss each rank's own and the mean of all: the weights, and what it warned of."""
    found: dict[str, Any] = {}
    for agreed in (False, True):
        net = network(torch.float64)
        optimizer = built("pme", net, world if agreed else 1)
        batches = Part(DistributedDataParallel(net), optimizer, rank, world)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(STEPS):
                optimizer.step(batches)
        found["agreed" if agreed else "own"] = (whole(net), [str(warning.message) for warning in caught])
    return found


def main(rank: int, world: int, job: Callable[[int, int], Any], folder: str) -> None:
    """One rank of the job; what it returns goes to a file."""
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    torch.save(job(rank, world), Path(folder) / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
