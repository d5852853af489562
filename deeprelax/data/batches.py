"""Draw mini-batches from a data set that lives on the device: a batch is an index."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from ..randomness import Purpose, derive_seed
from .augment import Augmentation, upload
from .augmentations.windows import Windows
from .images import Split
from .normalize import Normalization


class Images:
    """A split on a device, stored so that a batch is in channels_last without a copy.

    channels_last=False copies each batch, so that its memory has the order (batch, channels, height, width) too.
    """

    def __init__(
        self, split: Split, normalization: Normalization, device: torch.device, *, channels_last: bool = True
    ) -> None:
        # The copy is made once, here: index_select keeps this layout, which permuted is channels_last
        self._pixels = split.images.permute(0, 2, 3, 1).contiguous().to(device)  # (images, height, width, channels)
        self._labels = split.labels.to(device)
        self.normalization = normalization.to(device)
        self.device, self._channels_last, self.files = device, channels_last, split.files

    def __len__(self) -> int:
        return len(self._labels)

    def digest(self) -> str:
        """A hash of labels and pixels."""
        found = hashlib.blake2b(f"{tuple(self._pixels.shape)}".encode(), digest_size=16)
        for tensor in (self._labels, self._pixels):
            found.update(tensor.cpu().numpy().data)
        return found.hexdigest()

    def pixels(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The images of an index (batch,): uint8 (batch, height, width, channels), and int64 labels (batch,)."""
        return self._pixels.index_select(0, index), self.labels(index)

    def labels(self, index: Tensor) -> Tensor:
        """Those of the images of an index, int64 (batch,)."""
        return self._labels.index_select(0, index)

    def windows(self, augmentation: Augmentation) -> Windows | None:
        """What the augmentation cuts from, of all images here."""
        return augmentation.windows(self._pixels)

    def chunk(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """The images start to stop - 1 in their own order, as the network's input, and their labels."""
        return self.normalized(self._pixels[start:stop]), self._labels[start:stop]

    def normalized(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """uint8 (batch, height, width, channels) to `dtype` (batch, channels, height, width), in the memory's order."""
        images = self.normalization(pixels.permute(0, 3, 1, 2), dtype)
        # No .contiguous(): it leaves grey images their strides, by which a convolution chooses the order of its output
        return images if self._channels_last else images.clone(memory_format=torch.contiguous_format)


@dataclass(frozen=True, slots=True)
class Data:
    """A data set on the device; image_size in pixels."""

    train: Images
    test: Images
    validation: Images | None
    channels: int
    image_size: int
    classes: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """A hash of all splits and the names of the classes: a run resumes only with the data that it began with."""
        digests = [split.digest() for split in (self.train, self.test, self.validation) if split is not None]
        return hashlib.blake2b(f"{self.classes} {digests}".encode(), digest_size=16).hexdigest()

    @property
    def files(self) -> dict[str, tuple[str, ...]]:
        """The names of the images of each part, where they are known."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: images.files for name, images in parts.items() if images is not None and images.files is not None}


class Order:
    """The endless order of examples; batch k is a function of (seed, k) alone.

    Position i of the stream belongs to pass i // N and is example perm(seed, pass)[i mod N]; batch k holds the
    positions k B to k B + B - 1. So every batch is full, whatever N, and each pass shows each example once.

    With `part` = (i, n) a rank takes the i-th of n equal parts of each batch. Orders with different `chain` are
    independent.
    """

    def __init__(
        self,
        examples: int,
        batch_size: int,
        seed: int,
        device: torch.device,
        purpose: Purpose = Purpose.ORDER,
        part: tuple[int, int] = (0, 1),
        chain: int = 0,
    ) -> None:
        assert batch_size % part[1] == 0, "equal parts"
        self.examples, self.batch_size = examples, batch_size
        self._seed, self._device, self._purpose, self._chain = seed, device, purpose, chain
        size = batch_size // part[1]
        self.mine = slice(part[0] * size, (part[0] + 1) * size)  # this rank's part of a batch
        self._orders: dict[int, Tensor] = {}

    def __getitem__(self, k: int) -> Tensor:
        """The index of this rank's part of batch k, on the device."""
        return self.indices(k)[self.mine]

    def indices(self, k: int) -> Tensor:
        """The index of the full batch k, (batch_size,), on the device."""
        n, position, wanted = self.examples, k * self.batch_size, self.batch_size
        pieces: list[Tensor] = []
        while wanted:
            piece = self._order(position // n)[position % n :][:wanted]
            pieces.append(piece)
            position, wanted = position + len(piece), wanted - len(piece)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _order(self, number: int) -> Tensor:
        """The permutation of a pass, (examples,), on the device."""
        if number not in self._orders:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, self._purpose, number, self._chain))
            # a batch may straddle two passes, so the one before is kept; older ones are deleted
            self._orders = {k: v for k, v in self._orders.items() if k == number - 1}
            self._orders[number] = upload(torch.randperm(self.examples, generator=generator), self._device)
        return self._orders[number]


class Batches:
    """The endless stream of training batches, in an `Order`: batch k is a function of (seed, k) alone.

    An augmentation draws from (seed, k): published results are of these streams, so it never becomes a draw of a whole
    pass, which would save a small copy a batch. With `part` = (i, n) each batch is the i-th of n equal parts of the
    full one, augmentation included. Streams with different `chain` are independent.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        seed: int,
        augmentation: Augmentation | None = None,
        purpose: Purpose = Purpose.ORDER,
        part: tuple[int, int] = (0, 1),
        chain: int = 0,
    ) -> None:
        self.images, self.order = images, Order(len(images), batch_size, seed, images.device, purpose, part, chain)
        self._seed, self._augmentation, self._chain = seed, augmentation, chain
        self._windows = images.windows(augmentation) if augmentation is not None else None

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor]:
        """Batch k, or its part: float32 (images, channels, height, width), and labels (images,)."""
        return self.make(*self.draw(k))

    def draw(self, k: int) -> tuple[Tensor, ...]:
        """The arguments of `make` for batch k, on the device: the index and, with an augmentation, its draws."""
        index = self.order[k]
        if self._augmentation is None:
            return (index,)
        # drawn for the full batch, then cut: n ranks see the views that one rank would
        generator = torch.Generator().manual_seed(derive_seed(self._seed, Purpose.AUGMENTATION, k, self._chain))
        draws = self._augmentation.draw(generator, self.order.batch_size)[:, self.order.mine]
        return index, upload(draws, self.images.device)

    def make(
        self, index: Tensor, draws: Tensor | None = None, *, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """The batch for what `draw` returned, its images rounded to `dtype`.

        Runs on the device alone and draws nothing, as a CUDA graph needs it.
        """
        augmentation = self._augmentation
        if augmentation is None or draws is None:
            pixels, labels = self.images.pixels(index)
            return self.images.normalized(pixels, dtype), labels
        if self._windows is not None:
            pixels, labels = augmentation.from_windows(self._windows, index, draws), self.images.labels(index)
        else:
            pixels, labels = self.images.pixels(index)
            pixels = augmentation.apply(pixels, draws)
        return augmentation.erase(self.images.normalized(pixels, dtype), draws), labels
