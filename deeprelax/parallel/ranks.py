"""This process among its peers: torch.distributed behind five words. torch is imported when they are first used."""

from __future__ import annotations

import itertools
import os
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.distributed import Store  # type: ignore[attr-defined]

TIMEOUT = timedelta(minutes=30)  # of a collective call: an evaluation, a checkpoint on a slow disk may take as long
PARTING = timedelta(seconds=3)  # that a rank which has ended with an error waits for the others to do so
_meetings = itertools.count()  # of this process: a sweep has one for each job


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among all ranks of a run, and among those of its machine.

    With a world of one, the collectives do nothing.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1

    @property
    def main(self) -> bool:
        """The one that writes."""
        return self.rank == 0

    def sum_(self, tensor: Tensor) -> None:
        """The tensor to its sum over the ranks, in place."""
        if self.world == 1:
            return
        import torch

        torch.distributed.all_reduce(tensor)

    def gather(self, value: Any) -> list[Any]:
        """The value of every rank in their order, on the main rank; [] on the others."""
        if self.world == 1:
            return [value]
        import torch

        values: list[Any] | None = [None] * self.world if self.main else None
        torch.distributed.gather_object(value, values)
        return values or []

    def from_main(self, value: Any) -> Any:
        """The main rank's value, on all ranks."""
        if self.world == 1:
            return value
        import torch

        box = [value]
        torch.distributed.broadcast_object_list(box)
        return box[0]


SOLO = Ranks()


def from_environment() -> Ranks | None:
    """What torchrun, or whoever follows its contract, says of this process; None if nobody does."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return None
    rank, world = _whole("RANK"), _whole("WORLD_SIZE")
    found = Ranks(rank, world, _whole("LOCAL_RANK", rank), _whole("LOCAL_WORLD_SIZE", world))
    if not (0 <= found.rank < found.world and 0 <= found.local_rank < found.local_world):
        raise UserError(
            f"the environment's RANK={rank} and WORLD_SIZE={world} are no place: unset them, or start with torchrun"
        )
    return found


def _whole(name: str, default: int = 0) -> int:
    text = os.environ.get(name, str(default))
    if not text.strip().lstrip("-").isdecimal():
        raise UserError(f"the environment's {name}={text} is no whole number: unset it, or start with torchrun")
    return int(text)


def join(ranks: Ranks, device: torch.device, store: Store | None = None) -> Store | None:
    """Meet the peers: NCCL on GPUs, gloo on CPUs. Without a store, at MASTER_ADDR:MASTER_PORT.

    Returns the store of this meeting, None for one rank. Raises UserError if the port is taken, or NCCL is missing or
    fails.
    """
    if ranks.world == 1:
        return None
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    if device.type == "cuda" and not dist.is_nccl_available():
        raise UserError("this torch has no NCCL, and gloo is for CPUs: install a CUDA build or set hardware.device=cpu")
    backend, on = ("nccl", device) if device.type == "cuda" else ("gloo", None)
    try:
        if store is None:
            store, _, _ = next(iter(rendezvous("env://", ranks.rank, ranks.world, timeout=TIMEOUT)))
        # torchrun keeps its store, and what stood in it, over jobs and restarts
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = dist.PrefixStore(f"deeprelax/{attempt}/{next(_meetings)}", store)  # type: ignore[attr-defined]
        dist.init_process_group(
            backend, store=store, rank=ranks.rank, world_size=ranks.world, device_id=on, timeout=TIMEOUT
        )
        # a restart for a machine that comes or goes is not counted: the name is of these processes alone
        return dist.PrefixStore(ranks.from_main(uuid.uuid4().hex), store)  # type: ignore[attr-defined]
    except dist.DistBackendError as error:  # NCCL begins at once, for it is told its device
        raise UserError(nccl_failed(ranks, error)) from None
    except (dist.DistError, ValueError) as error:
        where = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
        raise UserError(
            f"rank {ranks.rank} cannot meet its peers at {where} ({str(error).splitlines()[0]}): "
            "is the port taken? torchrun's --master-port chooses another"
        ) from None


def nccl_failed(ranks: Ranks, error: Exception) -> str:
    """The sentence for an error of NCCL's own, which names its reason in the line behind "Last error:"."""
    text = str(error).strip()
    reason = (text.partition("Last error:")[2].strip() or text).splitlines()[0]
    return f"rank {ranks.rank}: NCCL failed ({reason}); NCCL_DEBUG=INFO in the environment makes it tell more"


def all_ended(ranks: Ranks, store: Store) -> bool:
    """Have all ranks come here, each with an error? Waits a moment for them, but in no collective call."""
    try:
        store.set(f"ended/{ranks.rank}", "")
        store.wait([f"ended/{rank}" for rank in range(ranks.world)], PARTING)
    except RuntimeError:  # too long, or the store is gone with the process that kept it
        return False
    return True


def leave() -> None:
    """Part from the peers, if any were met: a collective call."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
