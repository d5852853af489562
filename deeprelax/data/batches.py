"""Mini-batches out of a data set that lives on the device: a batch is an index."""

from __future__ import annotations

import torch
from torch import Tensor

from ..randomness import Purpose, derive_seed
from .images import Split
from .normalize import Normalization


class Images:
    """A split on a device, laid out so that a batch comes out in channels_last without a copy."""

    def __init__(self, split: Split, normalization: Normalization, device: torch.device) -> None:
        self._images = split.images.permute(0, 2, 3, 1).contiguous().to(device)  # (images, height, width, channels)
        self._labels = split.labels.to(device)
        self._normalization = normalization.to(device)
        self.device = device

    def __len__(self) -> int:
        return len(self._labels)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Images, float32 (batch, channels, height, width) in channels_last, and labels (batch,)."""
        images = self._images.index_select(0, index).permute(0, 3, 1, 2)
        return self._normalization(images), self._labels.index_select(0, index)

    def chunk(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """The same for the images start to stop in their own order."""
        return self._normalization(self._images[start:stop].permute(0, 3, 1, 2)), self._labels[start:stop]


class Batches:
    """The endless stream of training batches; batch k is a function of (seed, k) alone.

    Position i of the stream belongs to pass i // N and is image perm(seed, pass)[i mod N]; batch k holds the positions
    k B to k B + B - 1. So every batch is full, whatever N, and each pass shows each image once.
    """

    def __init__(self, images: Images, batch_size: int, seed: int, purpose: Purpose = Purpose.ORDER) -> None:
        self.images, self.batch_size = images, batch_size
        self._seed, self._purpose = seed, purpose
        self._orders: dict[int, Tensor] = {}

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor]:
        """Batch k: images (batch_size, channels, height, width), labels (batch_size,)."""
        return self.images.take(self.indices(k))

    def indices(self, k: int) -> Tensor:
        """The images of batch k, (batch_size,), on the device."""
        n, position, pieces, wanted = len(self.images), k * self.batch_size, [], self.batch_size
        while wanted:
            start = position % n
            piece = self._order(position // n)[start : start + wanted]
            pieces.append(piece)
            position, wanted = position + len(piece), wanted - len(piece)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _order(self, number: int) -> Tensor:
        """The order of a pass, drawn when it is first asked for."""
        if number not in self._orders:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, self._purpose, number))
            self._orders = {k: v for k, v in self._orders.items() if k == number - 1}
            self._orders[number] = torch.randperm(len(self.images), generator=generator).to(self.images.device)
        return self._orders[number]
