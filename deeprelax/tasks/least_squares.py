"""What the tasks of least squares have in common: tensors of examples on the device, and sums of squares."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ..data.batches import Order
from ..errors import UserError
from ..randomness import Purpose
from .task import Chunks, Setting, Task

CHUNK = 1000  # examples
Rows = tuple[Tensor, Tensor]  # inputs (examples, ...), targets (examples, outputs)


class LeastSquares(Task):
    """f = `factor` * the mean over a batch of |network(input) - target|^2.

    A subclass gives its splits to the constructor, "train" and "test" among them, float32 and anywhere, and writes
    `scores`. Networks map inputs (batch, ...) to (batch, outputs).
    """

    factor: ClassVar[float] = 1.0

    def __init__(self, setting: Setting, splits: dict[str, Rows]) -> None:
        super().__init__(setting)
        device = setting.device
        self.rows = {name: (inputs.to(device), targets.to(device)) for name, (inputs, targets) in splits.items()}
        self.examples = len(self.rows["train"][0])
        self.order = Order(
            self.examples, setting.drawn, setting.seed, device, part=setting.part, chain=setting.chain[0]
        )

    def draw(self, k: int) -> tuple[Tensor, ...]:
        return (self.order[k],)

    def make(self, *drawn: Tensor) -> tuple[Tensor, ...]:
        (index,) = drawn
        return tuple(rows.index_select(0, index) for rows in self.rows["train"])

    def loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        inputs, targets = batch
        return self.factor * (_predicted(model, inputs, targets) - targets).square().sum(1).mean()

    def splits(self) -> dict[str, Chunks]:
        return {name: _every(rows) for name, rows in self.rows.items() if name != "train"}

    def statistics(self, most: int) -> Chunks:
        size, seed = self.setting.batch_size, self.setting.seed
        order = Order(self.examples, size, seed, self.setting.device, Purpose.STATISTICS)
        return Chunks(lambda k: self.make(order[k]), min(most, max(1, self.examples // size)))

    def sums(self, model: nn.Module, *chunk: Tensor) -> Tensor:
        """Squared errors, targets, squared targets, all summed, and examples."""
        inputs, targets = chunk
        error = _predicted(model, inputs, targets).double() - targets
        count = torch.full_like(error[0, 0], len(targets))
        return torch.stack([error.square().sum(), targets.double().sum(), targets.double().square().sum(), count])


def _every(rows: Rows) -> Chunks:
    """A split, each example once."""
    return Chunks(lambda i: tuple(each[i * CHUNK : (i + 1) * CHUNK] for each in rows), -(-len(rows[0]) // CHUNK))


def _predicted(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Raises UserError where broadcasting would compare every prediction with every target."""
    predicted: Tensor = model(inputs)
    if predicted.shape != targets.shape:
        raise UserError(
            f"the network maps inputs {tuple(inputs.shape)} to {tuple(predicted.shape)}, not to the targets' "
            f"{tuple(targets.shape)}: let its forward return (batch, outputs)"
        )
    return predicted
