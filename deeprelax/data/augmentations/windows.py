"""Cut a random window out of each image, as it is padded by black pixels, and mirror it."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_BYTES = 2**30  # of padded images that are kept; more of them are padded as they are drawn


class Windows:
    """Windows of images uint8 (images, height, width, channels), padded once: a batch of them is one gather.

    Args:
        images: all those that windows are taken of.
        padding: black pixels on each side.
    """

    def __init__(self, images: Tensor, padding: int) -> None:
        _, height, width, _ = images.shape
        self._padded = torch.nn.functional.pad(images, (0, 0, padding, padding, padding, padding))
        self._rows, columns = (torch.arange(size, device=images.device) for size in (height, width))
        self._columns = torch.stack([columns, columns.flip(0)])  # as they are, and mirrored

    def __call__(self, index: Tensor, top: Tensor, left: Tensor, mirror: Tensor | None = None) -> Tensor:
        """(batch, height, width, channels): of each image of the index the window with this corner.

        index, top, left, mirror: int64 (batch,); mirror is 1 where the window is mirrored, None if nowhere.
        """
        columns = self._columns[0] if mirror is None else self._columns.index_select(0, mirror)
        rows, columns = self._rows + top[:, None], columns + left[:, None]  # each (batch, pixels)
        return self._padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]


def padded_bytes(images: Tensor, padding: int) -> int:
    """What the images take when they are padded."""
    count, height, width, channels = images.shape
    return count * (height + 2 * padding) * (width + 2 * padding) * channels
