"""Several processes that train one network together: torch.distributed behind five words."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from ..errors import UserError


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among its peers. With a world of one, the collectives do nothing."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1

    @property
    def main(self) -> bool:
        """The one that writes."""
        return self.rank == 0

    def mean_(self, tensors: list[Tensor]) -> None:
        """Each tensor to its mean over the ranks, in place: one all-reduce for all of them."""
        if self.world == 1:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        dist.all_reduce(flat)
        flat /= self.world
        for t, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            t.copy_(mean.reshape(t.shape))

    def sum_(self, tensor: Tensor) -> None:
        """The tensor to its sum over the ranks, in place."""
        if self.world > 1:
            dist.all_reduce(tensor)

    def from_main(self, value: Any) -> Any:
        """The main rank's value, on all ranks."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]


SOLO = Ranks()


def join(ranks: Ranks, device: torch.device, store: TCPStore | None = None) -> None:
    """Meet the peers: NCCL on GPUs, gloo on CPUs. Without a store, at MASTER_ADDR:MASTER_PORT.

    Raises UserError if the port is taken or NCCL is missing.
    """
    if ranks.world == 1:
        return
    if device.type == "cuda" and not dist.is_nccl_available():
        raise UserError("this torch has no NCCL, and gloo is for CPUs: install a CUDA build or set hardware.device=cpu")
    backend, on = ("nccl", device) if device.type == "cuda" else ("gloo", None)
    try:
        if store is None:
            dist.init_process_group(backend, device_id=on)
        else:
            dist.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.world, device_id=on)
    except (dist.DistNetworkError, ValueError) as error:
        where = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
        raise UserError(
            f"rank {ranks.rank} cannot meet its peers at {where} ({str(error).splitlines()[0]}): "
            "is the port taken? torchrun's --master-port chooses another"
        ) from None


def leave() -> None:
    """Part from the peers, if any were met."""
    if dist.is_initialized():
        dist.destroy_process_group()
