"""Score x on complete splits, every example once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from ..optim.batchnorm import reestimate_batchnorm
from ..tasks.task import Chunks, Task
from .collectives import Collectives
from .objective import Autocast

Interrupt = Callable[[], None] | None  # called between chunks; may raise


@torch.inference_mode()
def score(
    task: Task, model: nn.Module, chunks: Chunks, autocast: Autocast, ranks: Collectives, interrupt: Interrupt = None
) -> dict[str, float]:
    """The task's scores of the model in eval mode; the same on all ranks.

    The ranks take the chunks in turn. Each chunk's sums have a row of their own and are added up in one order, so the
    numbers do not depend on how many ranks there are. `interrupt` is called before each, and may raise.
    """
    mode = model.training
    model.eval()
    mine = list(range(ranks.rank, chunks.count, ranks.world))
    try:
        rows = []
        for chunk in _taken(chunks, mine or [0], interrupt):  # a rank without one asks how many sums there are
            with autocast():
                rows.append(task.sums(model, *chunk))
    finally:
        model.train(mode)
    sums = rows[0].new_zeros(chunks.count, len(rows[0]))
    if mine:
        sums[mine] = torch.stack(rows)
    ranks.sum_(sums)
    return task.scores(sums.sum(0).cpu())


def scores(
    task: Task,
    model: nn.Module,
    statistics: Chunks,
    autocast: Autocast,
    ranks: Collectives,
    *,
    train: bool = False,
    interrupt: Interrupt = None,
) -> dict[str, dict[str, float]]:
    """`score` on each split, batch-norm statistics re-estimated before; with `train` on the batches for these too."""
    with autocast():
        reestimate_batchnorm(model, _taken(statistics, range(statistics.count), interrupt))
    splits = task.splits() | ({"train": statistics} if train else {})
    return {name: score(task, model, chunks, autocast, ranks, interrupt) for name, chunks in splits.items()}


def _taken(chunks: Chunks, indices: Iterable[int], interrupt: Interrupt) -> Iterator[tuple[Tensor, ...]]:
    for i in indices:
        if interrupt is not None:  # statistics half made do no harm: the evaluation on resume makes them again
            interrupt()
        yield chunks.take(i)
