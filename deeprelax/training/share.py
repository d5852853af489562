"""Share the work of a step among the ranks, as `hardware.share` says.

    data    each evaluation is one batch, its parts on all ranks, and every gradient is averaged: W ranks with parts of
            B/W images follow one rank with batches of B. At the end of a step the loss alone is averaged.
    chains  each rank runs an inner chain of its own on batches of B/W images, with its own order, augmentation, noise
            and dropout. At the end of a step d and the loss are averaged, in one all-reduce.

One evaluation on all ranks counts as one gradient evaluation of B images either way.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..data.augment import Augmentation
from ..data.batches import Batches, Images
from ..errors import UserError
from ..optim import Relaxation
from .collectives import Collectives


@dataclass(frozen=True, slots=True)
class Share:
    """This rank's share of the work; `by` is "data" or "chains"."""

    ranks: Collectives
    by: str = "data"

    @property
    def _chains(self) -> bool:
        return self.ranks.world > 1 and self.by == "chains"

    @property
    def _parts(self) -> bool:
        return self.ranks.world > 1 and self.by == "data"

    def batches(self, images: Images, batch_size: int, seed: int, augmentation: Augmentation | None) -> Batches:
        """Its batches, of B/W images each where batch_size = B."""
        if self._chains:
            return Batches(images, batch_size // self.ranks.world, seed, augmentation, chain=self.ranks.rank)
        part = (self.ranks.rank, self.ranks.world) if self._parts else (0, 1)
        return Batches(images, batch_size, seed, augmentation, part=part)

    def average(self, optimizer: Relaxation, stop: Tensor) -> None:
        """Tell the optimizer what is averaged at the end of a step, and which chain is its own.

        `stop`, a number on the device, is averaged in the same all-reduce: a rank that was asked to stop tells
        the others.
        """
        if self._chains:
            optimizer.chain = self.ranks.rank
            optimizer.reduce_direction = lambda tensors: self.ranks.mean_([*tensors, stop])
        elif self._parts:
            optimizer.reduce_direction = lambda tensors: self.ranks.mean_([tensors[-1], stop])

    def wrapped(self, model: nn.Module, device: torch.device, *, sync_batchnorm: bool, compiled: bool) -> nn.Module:
        """What is called for the network: itself, averaging gradients over the ranks, compiled at its first call.

        Its parameters are the network's. Raises UserError for a network without parameters to train.
        """
        if self._parts:
            model = _averaging_gradients(model, device, sync_batchnorm=sync_batchnorm)
        return torch.compile(model) if compiled else model  # type: ignore[return-value]


def compile_problem(error: Exception) -> UserError | None:
    """A message for an error of torch's compiler; None for any other error."""
    if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return None
    reason = str(error).strip().splitlines()[0]
    return UserError(f"torch cannot compile this ({reason}): leave it out")


def _averaging_gradients(model: nn.Module, device: torch.device, *, sync_batchnorm: bool) -> nn.Module:
    if not any(p.requires_grad for p in model.parameters()):
        raise UserError("the model has no parameters to train")
    if sync_batchnorm:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    with warnings.catch_warnings():
        # torch 2.15 renames broadcast_buffers; the older releases that we support know this name only.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        ids = [device.index] if device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)
