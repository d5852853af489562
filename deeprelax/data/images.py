"""Hold a data set in memory."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Split:
    """Images and what they show.

    Args:
        images: uint8 (N, channels, size, size), pixels from 0 to 255; N, channels and size are 1 or more. 1 channel is
            grey, 3 are red, green and blue; other numbers train too, but take no `color_jitter`.
        labels: int64 (N,), from 0 to the number of classes less one.
        files: N names, if they are to be written to split.json in the run's directory; None: nothing is written.
    """

    images: Tensor
    labels: Tensor
    files: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor) -> Split:
        """The images of an index int64 (M,), with their labels and names."""
        files = None if self.files is None else tuple(self.files[i] for i in index.tolist())
        return Split(self.images[index], self.labels[index], files)


@dataclass(frozen=True, slots=True)
class ImageData:
    """A data set: what the function behind `dataset=custom dataset.name=package.module:load` returns.

    The function is called as load(data_dir, **options), data_dir a pathlib.Path, options those of `dataset.options`, at
    every start of a run and on every rank, so it must return the same images in the same order: a run resumes only with
    the data that it began with. Tensors lie on the CPU; all images are of one shape, the order within a split is free.

    Args:
        train: what is trained on. Of these `dataset.validation` and `dataset.train_size` take parts.
        test: what the scores test_error and test_loss are of; never trained on.
        classes: a name for each label; the network has so many outputs. Every class should be in `train`.
        validation: images of its own that hyper-parameters are chosen by, scored as the test images are; None: those
            that `dataset.validation` holds out of `train`, if any.

    `sources.checked` refuses, with a UserError that names the part, what is of another type or shape.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    validation: Split | None = None

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.train.images.shape[1]

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return self.train.images.shape[2]
