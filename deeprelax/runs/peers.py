"""A rank among its peers: it meets them, and parts from them only where all do, at a common end.

To part is a collective call (NCCL's communicators are ended together), as is every mean of a step. A rank that fails
alone must therefore make none: it tells its error and leaves, and whoever started the ranks ends the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from ..configuration.schema import TrainConf
from ..errors import LeftAlone, PeersLostError, UserError
from ..parallel.ranks import Ranks, all_ended, join, leave, nccl_failed
from .determinism import deterministic

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

GONE = ("gloo", "Connection closed by peer", "Connection reset by peer", "NCCL communicator was aborted")
NCCL_GONE = (  # in small letters: what NCCL, or torch for it, says of others; the rest are errors of this rank's own
    "ncclremoteerror", "remote process exit", "connection closed", "connection was likely closed", "connection reset",
    "aborted", "timed out", "timeout",
)  # fmt: skip


@contextmanager
def joined(conf: TrainConf, ranks: Ranks, device: torch.device, store: Store | None = None) -> Iterator[Store | None]:
    """Within the `with` this process belongs to the group of all ranks, from which it parts at the end.

    An error passes through, as PeersLostError where the others have gone, and the group stays as it is. Deterministic
    kernels are on before it is made, for torch then does without NVLS, NCCL's sums within the switch between GPUs.
    """
    with deterministic(conf.deterministic):
        meeting = join(ranks, device, store)
        with loss_explained(ranks):
            yield meeting
        leave()


@contextmanager
def loss_explained(ranks: Ranks) -> Iterator[None]:
    """Raise PeersLostError where a collective call failed because another rank is gone.

    Raises UserError where NCCL failed by itself.
    """
    try:
        yield
    except Exception as error:
        if not _is_loss_of_peers(error):
            if not isinstance(error, dist.DistBackendError):
                raise
            raise UserError(nccl_failed(ranks, error)) from None
        reason = str(error).strip().splitlines()[0]
        raise PeersLostError(
            f"rank {ranks.rank} lost its peers ({reason}): one of them has ended, and its own message says why; "
            "the same command resumes from the last checkpoint, if any",
            resumes=True,
        ) from None


@contextmanager
def joined_by_torchrun(conf: TrainConf, ranks: Ranks, device: torch.device) -> Iterator[None]:
    """`joined`, for a process that may continue with another job after an error.

    Raises LeftAlone if only this rank has ended with an error; one that all have is raised as it is.
    """
    store: Store | None = None
    try:
        with joined(conf, ranks, device) as store:
            yield
    except BaseException as error:
        if store is None:  # alone, or there was no meeting
            raise
        try:
            together = not isinstance(error, PeersLostError) and all_ended(ranks, store)
        except BaseException:  # a signal while it waited
            together = False
        if not together:
            raise LeftAlone(error) from None
        leave()
        raise


def _is_loss_of_peers(error: Exception) -> bool:
    if isinstance(error, dist.DistBackendError):
        return any(words in str(error).lower() for words in NCCL_GONE)
    if isinstance(error, dist.DistNetworkError | dist.DistStoreError):
        return True
    return type(error) is RuntimeError and any(words in str(error) for words in GONE)
