"""Loss and error of x on whole data sets: every image once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from ..data.batches import Batches, Images
from .objective import Autocast

CHUNK = 1000  # images


@torch.inference_mode()
def score(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], autocast: Autocast) -> dict[str, float]:
    """{"loss": mean cross-entropy, "error": percent misclassified} in eval mode, over (images, labels) batches."""
    mode = model.training
    model.eval()
    try:
        sums: Tensor | None = None
        count = 0
        for images, labels in batches:
            with autocast():
                logits = model(images).float()
            loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
            wrong = (logits.argmax(1) != labels).sum()
            found = torch.stack([loss.double(), wrong.double()])
            sums = found if sums is None else sums + found
            count += len(labels)
    finally:
        model.train(mode)
    assert sums is not None, "nothing to evaluate on"
    loss_sum, wrong_sum = sums.tolist()
    return {"loss": loss_sum / count, "error": 100.0 * wrong_sum / count}


def every_image(images: Images) -> Iterator[tuple[Tensor, Tensor]]:
    """A split in chunks, each image once."""
    for start in range(0, len(images), CHUNK):
        yield images.chunk(start, start + CHUNK)


def first_batches(batches: Batches, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches 0 to count - 1."""
    for k in range(count):
        yield batches[k]
