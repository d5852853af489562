"""Score x on complete data sets, every image once: loss and error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..data.batches import Batches, Data, Images
from ..optim.batchnorm import reestimate_batchnorm
from ..randomness import Purpose
from .collectives import ALONE, Collectives
from .objective import Autocast

CHUNK = 1000  # images
Interrupt = Callable[[], None] | None  # called between chunks; may raise


@dataclass(frozen=True, slots=True)
class Chunks:
    """What to evaluate on: take(0) to take(count - 1), each images and labels."""

    take: Callable[[int], tuple[Tensor, Tensor]]
    count: int


@torch.inference_mode()
def score(
    model: nn.Module,
    chunks: Chunks,
    autocast: Autocast,
    ranks: Collectives = ALONE,
    interrupt: Interrupt = None,
) -> dict[str, float]:
    """{"loss": mean cross-entropy, "error": percent misclassified} in eval mode; the same on all ranks.

    The ranks take the chunks in turn. Each chunk's sums have a row of their own and are added up in one order, so the
    numbers do not depend on how many ranks there are. `interrupt` is called before each, and may raise.
    """
    mode = model.training
    model.eval()
    try:
        rows = []
        for i in range(ranks.rank, chunks.count, ranks.world):
            if interrupt is not None:
                interrupt()
            rows.append(_sums(model, chunks.take(i), autocast))
    finally:
        model.train(mode)
    device = next(model.parameters()).device
    sums = torch.zeros(chunks.count, 3, dtype=torch.float64, device=device)
    if rows:
        sums[ranks.rank :: ranks.world] = torch.stack(rows)
    ranks.sum_(sums)
    loss, wrong, images = sums.sum(0).tolist()
    return {"loss": loss / images, "error": 100.0 * wrong / images}


def _sums(model: nn.Module, chunk: tuple[Tensor, Tensor], autocast: Autocast) -> Tensor:
    """Summed loss, wrong answers, images: float64 (3,)."""
    images, labels = chunk
    with autocast():
        logits = model(images).float()
    loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
    wrong = (logits.argmax(1) != labels).sum()
    return torch.stack([loss.double(), wrong.double(), torch.full_like(loss, len(labels), dtype=torch.float64)])


def scores(
    model: nn.Module,
    data: Data,
    statistics: Chunks,
    autocast: Autocast,
    ranks: Collectives = ALONE,
    *,
    train: bool = False,
    interrupt: Interrupt = None,
) -> dict[str, dict[str, float]]:
    """`score` on each split, batch-norm statistics re-estimated before; with `train` on the batches for these too."""
    with autocast():
        reestimate_batchnorm(model, (statistics.take(i) for i in range(statistics.count)))
    splits = {"test": every_image(data.test)}
    if data.validation is not None:
        splits["validation"] = every_image(data.validation)
    if train:
        splits["train"] = statistics
    return {name: score(model, chunks, autocast, ranks, interrupt) for name, chunks in splits.items()}


def every_image(images: Images) -> Chunks:
    """A split, each image once."""
    return Chunks(lambda i: images.chunk(i * CHUNK, (i + 1) * CHUNK), -(-len(images) // CHUNK))


def statistics_batches(images: Images, batch_size: int, seed: int, most: int) -> Chunks:
    """The training batches that statistics at x are taken on: always the same, at most one pass."""
    batches = Batches(images, batch_size, seed, purpose=Purpose.STATISTICS)
    return Chunks(batches.__getitem__, min(most, max(1, len(images) // batch_size)))
