"""Image classification: mean cross-entropy, scored by the share of misclassified images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..data.batches import Batches, Images
from ..errors import UserError
from ..randomness import Purpose, seeded
from .confusion import confusion, draw_confusion, summary
from .hyperparameters import check_options
from .metric import Metric
from .task import Chunks, Setting, Task

CHUNK = 1000  # images; the rounding of published scores depends on it


class Classification(Task):
    """f = the mean cross-entropy of a batch of images; "error" is the percentage of misclassified images.

    Networks map images (batch, channels, size, size) to logits (batch, classes). Raises UserError without a data set.

    Args:
        label_smoothing: s: in training a label is its class with probability 1 - s, else any class, each with the same
            (arXiv 1512.00567, section 7). Scores are without.
        class_weights: w: in training f = sum_i w[label_i] l_i / B over the B images of a batch, one weight for each
            class. Not divided by the weights' sum, so that batches and ranks add up. Scores are without.
    """

    noun: ClassVar[str] = "image"
    abbreviation: ClassVar[str] = "img"
    result_keys: ClassVar[tuple[str, str]] = ("training_images", "images_per_second")
    takes_data: ClassVar[bool] = True
    metrics = {"error": Metric("%", 2, share_of="images")}  # noqa: RUF012

    def __init__(
        self, setting: Setting, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None
    ) -> None:
        check_options({"label_smoothing": label_smoothing, "class_weights": class_weights})
        super().__init__(setting)
        if setting.load_data is None:
            raise UserError("task=classification needs images: choose a dataset, as dataset=mnist")
        self.data, augmentation = setting.load_data()
        self.examples, self.fingerprint = len(self.data.train), self.data.fingerprint
        self.files = self.data.files
        size, classes = self.data.image_size, len(self.data.classes)
        self.shape = {"channels": self.data.channels, "image_size": size, "classes": classes}
        self.label_smoothing, self.weights = label_smoothing, _weights(class_weights, self.data.classes, setting)
        self.batches = Batches(
            self.data.train, setting.drawn, setting.seed, augmentation, part=setting.part, chain=setting.chain[0]
        )  # fmt: skip

    def draw(self, k: int) -> tuple[Tensor, ...]:
        return self.batches.draw(k)

    def make(self, *drawn: Tensor) -> tuple[Tensor, ...]:
        # what autocast would make of them in the first layer
        return self.batches.make(*drawn, dtype=torch.bfloat16 if self.setting.bfloat16 else torch.float32)

    def loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        images, labels = batch
        if self.weights is None:
            return nn.functional.cross_entropy(model(images), labels, label_smoothing=self.label_smoothing)
        losses = nn.functional.cross_entropy(
            model(images), labels, reduction="none", label_smoothing=self.label_smoothing
        )
        return (self.weights[labels] * losses).mean()

    def splits(self) -> dict[str, Chunks]:
        held_out = {} if self.data.validation is None else {"validation": every_image(self.data.validation)}
        return {"test": every_image(self.data.test), **held_out}

    def statistics(self, most: int) -> Chunks:
        size, seed = self.setting.batch_size, self.setting.seed
        batches = Batches(self.data.train, size, seed, purpose=Purpose.STATISTICS)
        return Chunks(batches.__getitem__, min(most, max(1, self.examples // size)))

    def sums(self, model: nn.Module, *chunk: Tensor) -> Tensor:
        """Summed loss, wrong answers, images."""
        images, labels = chunk
        logits = model(images).float()
        with torch.autocast(logits.device.type, enabled=False):
            loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
        wrong = (logits.argmax(1) != labels).sum()
        return torch.stack([loss.double(), wrong.double(), torch.full_like(loss, len(labels), dtype=torch.float64)])

    def scores(self, sums: Tensor) -> dict[str, float]:
        loss, wrong, images = sums.tolist()
        return {"loss": loss / images, "error": 100.0 * wrong / images}

    def check_network(self, name: str, network: Callable[..., Any]) -> None:
        smallest = getattr(network, "smallest_image", 1)
        if self.data.image_size < smallest:
            raise UserError(
                f"model={name} takes images of {smallest} pixels or more, these have {self.data.image_size}: "
                f"set dataset.image_size={smallest} or more, or take another model"
            )

    def predicted(self, model: nn.Module, *chunk: Tensor) -> Tensor:
        """The class of each image of a chunk, int64 (images,), by which `sums` counts errors."""
        found: Tensor = model(chunk[0]).argmax(1)
        return found

    def report(self, model: nn.Module, folder: Path) -> dict[str, Any]:
        """confusion.png of the test images; the matrix, and the errors by class and their mean."""
        device, test = self.setting.device, self.splits()["test"]
        classes = [str(name) for name in self.data.classes]
        matrix = torch.zeros(len(classes), len(classes), dtype=torch.int64, device=device)
        half = torch.autocast(device.type, torch.bfloat16, enabled=self.setting.bfloat16)
        with torch.no_grad(), half:
            for i in range(test.count):
                chunk = test.take(i)
                with seeded(device, self.setting.seed, Purpose.EVALUATION, "test", i):  # as the scores
                    labels, predicted = chunk[1], self.predicted(model, *chunk)
                if predicted.shape != labels.shape or int(predicted.max()) >= len(classes):
                    return {}  # of a derived task, whose networks return something else
                matrix += confusion(labels, predicted, len(classes))
        draw_confusion(matrix.cpu(), classes, folder / "confusion.png")
        return summary(matrix.cpu(), classes)

    def inference(self) -> dict[str, Any]:
        """Sizes of the images, names of the classes, the normalisation, and the number of training images."""
        return {
            "channels": self.data.channels,
            "image_size": self.data.image_size,
            "classes": [str(name) for name in self.data.classes],
            "training_images": self.examples,
            "normalization": self.data.train.normalization.to(torch.device("cpu")).state(),
        }


def _weights(given: Sequence[float] | None, classes: Sequence[object], setting: Setting) -> Tensor | None:
    if given is None:
        return None
    if len(given) != len(classes):
        raise UserError(
            f"task.class_weights has {len(given)} numbers, and there are {len(classes)} classes: give one for each, in "
            f"the order {', '.join(map(str, classes[:20]))}{', ...' * (len(classes) > 20)}"
        )
    return torch.tensor(given, dtype=setting.dtype, device=setting.device)


def every_image(images: Images) -> Chunks:
    """A split, each image once."""
    return Chunks(lambda i: images.chunk(i * CHUNK, (i + 1) * CHUNK), -(-len(images) // CHUNK), len(images))
