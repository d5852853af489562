"""Resize the images of a data set once, when it is read."""

from __future__ import annotations

import torch
from torch import Tensor


def resized(images: Tensor, size: int | None) -> Tensor:
    """Resize uint8 (N, C, H, W) to (N, C, size, size), bilinear with anti-aliasing; unchanged if size is None."""
    if size is None or images.shape[-2:] == (size, size):
        return images
    out = torch.empty(*images.shape[:2], size, size, dtype=torch.uint8)
    for start in range(0, len(images), 1000):  # in chunks, for float32 takes four times the memory
        chunk = images[start : start + 1000].float()
        chunk = torch.nn.functional.interpolate(chunk, (size, size), mode="bilinear", antialias=True)
        out[start : start + 1000] = chunk.round_().clamp_(0, 255).to(torch.uint8)
    return out
