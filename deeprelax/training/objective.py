"""The closure that optimizers call: the loss and gradient of the next mini-batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..data.batches import Batches
from ..randomness import Purpose, derive_seed
from .graph import Graphed


class Objective:
    """f at the model's present weights on the next mini-batch, with its gradient; counts its calls.

    Call number k takes batch k and the dropout masks that belong to (seed, k, rank), so the count is the whole state.
    `model` may be wrapped for data-parallel training. With `graphs`, on a GPU, evaluations are replays of a CUDA graph.

    `before_each`: hooks of all objectives of this process, called with the objective before each evaluation; one that
    raises ends the run there. For tests and benchmarks.
    """

    before_each: ClassVar[list[Callable[[Objective], None]]] = []

    def __init__(
        self, model: nn.Module, batches: Batches, seed: int, precision: str, rank: int = 0, *, graphs: bool = False
    ) -> None:
        self.model, self.batches = model, batches
        self.evaluations = 0
        self.seed, self.rank = seed, rank
        self.interrupt: Callable[[], None] | None = None  # called before each evaluation; may raise to abort the step
        self._parameters = list(model.parameters())
        self.autocast = Autocast(precision, batches.images.device)
        self._generator = default_generator(batches.images.device)
        self.evaluate: Callable[..., Tensor] = Graphed(self._eager, self._parameters) if graphs else self._eager

    def __call__(self) -> Tensor:
        """The mean cross-entropy of the next batch, a 0-dim tensor; its gradient is in the parameters' .grad."""
        for hook in self.before_each:
            hook(self)
        if self.interrupt is not None:
            self.interrupt()
        drawn = self.batches.draw(self.evaluations)
        # nn.Dropout draws from the default generator and takes no other. The global torch.manual_seed is slower.
        self._generator.manual_seed(derive_seed(self.seed, Purpose.DROPOUT, self.evaluations, self.rank))
        for p in self._parameters:
            p.grad = None
        loss = self.evaluate(*drawn)
        self.evaluations += 1
        return loss

    def _eager(self, *drawn: Tensor) -> Tensor:
        """Everything that happens on the device."""
        images, labels = self.batches.make(*drawn)
        with self.autocast():
            loss = nn.functional.cross_entropy(self.model(images), labels)
        loss.backward()
        return loss


class Autocast:
    """Mixed precision as configured: `float32` for none, `bfloat16` for torch.autocast."""

    def __init__(self, precision: str, device: torch.device) -> None:
        self.enabled, self._type = precision == "bfloat16", device.type

    def __call__(self) -> torch.autocast:
        return torch.autocast(self._type, dtype=torch.bfloat16, enabled=self.enabled)


def default_generator(device: torch.device) -> torch.Generator:
    """The generator that layers on this device draw from."""
    if device.type == "cuda":
        return torch.cuda.default_generators[device.index or 0]
    return torch.default_generator
