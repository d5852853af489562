"""Score x on complete splits, every example once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from ..optim.batchnorm import reestimate_batchnorm, training_mode
from ..randomness import Purpose, default_generator, derive_seed
from ..tasks.task import Chunks, Task
from .collectives import Collectives
from .objective import Autocast

Interrupt = Callable[[], None] | None  # called between chunks; may raise


def score(
    task: Task, model: nn.Module, chunks: Chunks, autocast: Autocast, ranks: Collectives, interrupt: Interrupt = None,
    *, split: str = "test",
) -> dict[str, float]:  # fmt: skip
    """The task's scores of the model in eval mode, on the split that the chunks are of; the same on all ranks.

    The ranks take the chunks in turn. Each chunk's sums have a row of their own and are added up in one order, so the
    numbers do not depend on how many ranks there are. `interrupt` is called before each, and may raise.
    """
    mode, device = model.training, task.setting.device
    # tensors of inference mode take part in no derivative, not even in one that the task asks for itself
    without_gradients = torch.no_grad if task.derivatives else torch.inference_mode
    generator = default_generator(device)
    model.eval()
    mine = list(range(ranks.rank, chunks.count, ranks.world))
    try:
        rows = []
        for i, chunk in _taken(chunks, mine or [0], interrupt):  # a rank without one asks how many sums there are
            generator.manual_seed(derive_seed(task.setting.seed, Purpose.EVALUATION, split, i))
            with without_gradients(), autocast():
                rows.append(task.sums(model, *chunk))
    finally:
        training_mode(model, mode)
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
        batches = (batch for _, batch in _taken(statistics, range(statistics.count), interrupt))
        reestimate_batchnorm(model, batches, keep_frozen=True)
    splits = task.splits() | ({"train": statistics} if train else {})
    return {name: score(task, model, chunks, autocast, ranks, interrupt, split=name) for name, chunks in splits.items()}


def _taken(chunks: Chunks, indices: Iterable[int], interrupt: Interrupt) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    for i in indices:
        if interrupt is not None:  # statistics half made do no harm: the evaluation on resume makes them again
            interrupt()
        yield i, chunks.take(i)
