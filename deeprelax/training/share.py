"""Share the work of a step among the ranks, as `hardware.share` says.

    data    each evaluation is one batch, its parts on all ranks, and every gradient is averaged: W ranks with parts of
            B/W examples follow one rank with batches of B. The gradient of a small network is one all-reduce, with the
            loss; that of a large one is DistributedDataParallel's, and the loss another one at the end of a step.
    chains  each rank runs an inner chain of its own on batches of B/W examples, with its own order, augmentation,
            noise and dropout. At the end of a step d and the loss are averaged, in one all-reduce.

With the loss go the flags by which ranks agree (`stop.py`). One evaluation on all ranks counts as one gradient
evaluation of B examples either way. An optimizer with replicas divides these instead, and one whose step has parts
(`Relaxation.parts`) those, on a number of ranks that divides theirs, in the place of `data`:

    evaluations each rank takes its share of a step's evaluations, of B examples each, which count each as one.
                Evaluation k is the same on any number of ranks: batch k and the random numbers of k. At the end of a
                step d and the loss are averaged, in one all-reduce.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import UserError
from ..optim import Relaxation
from ..optim.averaging import mean_, mean_directions_, mean_gradients_
from ..optim.state import kept_by_chains, restore_chains
from ..tasks.task import Task
from .collectives import Collectives
from .stepper import Stepper

SMALL = 25 * 2**20  # bytes of gradients


@dataclass(slots=True)
class Share:
    """This rank's share of the work; `by` is "data", "chains" or "evaluations".

    traffic_bytes: what this rank has handed to all-reduces for training: gradients or d, losses and flags.
    """

    ranks: Collectives
    by: str = "data"
    traffic_bytes: int = 0

    @property
    def _chains(self) -> bool:
        return self.ranks.world > 1 and self.by == "chains"

    @property
    def _evaluations(self) -> bool:
        return self.ranks.world > 1 and self.by == "evaluations"

    @property
    def _parts(self) -> bool:
        return self.ranks.world > 1 and self.by == "data"

    def check(self, task: Task) -> None:
        """Raise UserError if the task's loss is not the mean of its parts' losses, but would be taken for it."""
        if self._parts and not task.additive:
            raise UserError(
                "hardware.share=data averages gradients, and this loss is no mean: use hardware.share=chains"
            )

    @property
    def of_batches(self) -> dict[str, tuple[int, int]]:
        """The part or the chain of a task's `Setting` on this rank."""
        mine = (self.ranks.rank, self.ranks.world)
        return {} if self._evaluations else {"chain": mine} if self._chains else {"part": mine}

    @property
    def seeds(self) -> int:
        """What the random numbers of an evaluation belong to, beside its number: the rank, unless these are divided."""
        return 0 if self._evaluations else self.ranks.rank

    def turn(self, optimizer: Stepper) -> tuple[int, int]:
        """How many evaluations of a step other ranks take before this one's, and after."""
        if not self._evaluations or not isinstance(optimizer, Relaxation):
            return 0, 0
        here = optimizer.evaluations_here
        before = self.ranks.rank * here
        return before, optimizer.evaluations - here - before

    def average(self, optimizer: Stepper, flags: Tensor, loss: nn.Module) -> None:
        """Tell the optimizer what is averaged at the end of a step, and which chain is its own.

        `flags`, numbers on the device, are averaged in the all-reduce of the loss, be it here or in `after_backward`: a
        rank that was asked to stop tells the others. Raises UserError on several ranks for an optimizer that is no
        relaxation.
        """
        if self.ranks.world == 1:
            return
        if not isinstance(optimizer, Relaxation):
            name = type(optimizer).__name__
            raise UserError(f"{self.ranks.world} ranks with {name}, which runs on one rank: set hardware.devices=1")
        if (optimizer.parts == 1) if self._evaluations else optimizer.replicated:
            raise UserError(f"hardware.share={self.by} does not go with {type(optimizer).__name__}: leave it out")
        if self._evaluations:
            try:
                optimizer.divide(self.ranks.rank, self.ranks.world)
            except ValueError as error:
                raise UserError(f"optimizer.{error}: set hardware.devices to a divisor") from None
        elif self._chains:
            optimizer.chain = self.ranks.rank
        optimizer.reduce_loss = lambda found: None  # a chain's own, or the mean already (`after_backward`)
        if self._chains or self._evaluations:
            optimizer.reduce_direction = functools.partial(self._average_directions, optimizer, flags)
        elif not _is_small(loss):
            optimizer.reduce_direction = lambda tensors: mean_([tensors[-1], flags], self.ranks.world, self._sum_)
            optimizer.reduce_loss = lambda found: mean_([found], self.ranks.world, self._sum_)

    def _average_directions(self, optimizer: Relaxation, flags: Tensor, tensors: list[Tensor]) -> None:
        *d, loss = tensors
        mean_directions_(optimizer.buffers("d").flats, d, [loss, flags], self.ranks.world, self._sum_)

    def _sum_(self, tensor: Tensor) -> None:
        self.traffic_bytes += tensor.nbytes
        self.ranks.sum_(tensor)

    def gather_chains(self, optimizer: Stepper) -> list[Any]:
        """What each rank's chain or replicas keep over outer steps, on the main rank; [] if all ranks have the same.

        For a checkpoint; to be called on all ranks.
        """
        if not self._evaluations and not (self._chains and optimizer.defaults.get("inner_state") == "keep"):
            return []
        kept = kept_by_chains(optimizer)
        return self.ranks.gather({i: {name: t.cpu() for name, t in tensors.items()} for i, tensors in kept.items()})

    def restore_chain(self, optimizer: Stepper, chains: list[Any]) -> None:
        """This rank's part of what `gather_chains` returned: its replicas; of n chains rank r takes that of r mod n."""
        if self.by == "evaluations" and isinstance(optimizer, Relaxation):
            for kept in chains:
                restore_chains(optimizer, kept)
            optimizer.forget_others()
        elif chains:
            restore_chains(optimizer, chains[self.ranks.rank % len(chains)])

    def wrapped(self, loss: nn.Module, device: torch.device, *, sync_batchnorm: bool, compiled: bool) -> nn.Module:
        """What is called for the loss: itself, averaging gradients over the ranks, compiled at its first call.

        Its parameters are the network's. Raises UserError for a network without parameters to train.
        """
        if self._parts:
            if not any(p.requires_grad for p in loss.parameters()):
                raise UserError("the model has no parameters to train")
            if sync_batchnorm:
                loss = nn.SyncBatchNorm.convert_sync_batchnorm(loss)
            if _is_small(loss):
                self._as_on_main(loss)
            else:
                loss = _averaging_gradients(loss, device, compiled=compiled)
        return torch.compile(loss) if compiled else loss  # type: ignore[return-value]

    @torch.no_grad()
    def _as_on_main(self, loss: nn.Module) -> None:
        """The main rank's weights and buffers, as DistributedDataParallel begins too."""
        for tensor in (*loss.parameters(), *loss.buffers()):
            if self.ranks.rank:
                tensor.zero_()
            self.ranks.sum_(tensor)

    def after_backward(self, loss: nn.Module, flags: Tensor) -> Callable[[Tensor], Tensor] | None:
        """What is called with the loss after each backward pass, and returns it; None if there is nothing to do.

        For a small network it averages gradients, loss and `flags` in one all-reduce, on two ranks to the same bits as
        DistributedDataParallel, whose overlap with the backward pass pays for large networks. A parameter without a
        gradient, the same on all ranks, has none afterwards.
        """
        if not self._parts:
            return None
        average = self._average_gradients if _is_small(loss) else self._count
        return functools.partial(average, [p for p in loss.parameters() if p.requires_grad], flags)

    def _average_gradients(self, params: list[Tensor], flags: Tensor, loss: Tensor) -> Tensor:
        if any(p.grad.layout is not torch.strided for p in params if p.grad is not None):
            return loss  # the optimizer refuses them, in a sentence
        mean = loss.detach().clone()
        mean_gradients_(params, [mean, flags], self.ranks.world, self._sum_)
        return mean

    def _count(self, params: list[Tensor], flags: Tensor, loss: Tensor) -> Tensor:
        """Of a large network: torch has averaged the gradients, unused ones too."""
        self.traffic_bytes += sum(p.nbytes for p in params)
        return loss


def _is_small(loss: nn.Module) -> bool:
    """Are its gradients so few that they are averaged at once?"""
    return sum(p.nbytes for p in loss.parameters() if p.requires_grad) < SMALL


def _averaging_gradients(loss: nn.Module, device: torch.device, *, compiled: bool) -> nn.Module:
    # a parameter that no loss reaches gets no gradient and is no error; compiled graphs need the older word for it
    with warnings.catch_warnings():
        # torch 2.15 renames broadcast_buffers; the older releases that we support know this name only.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        return DistributedDataParallel(
            loss,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
            find_unused_parameters=compiled,
            static_graph=not compiled,
        )
