"""What is learned: the loss, its batches, and the scores of x. The loop knows nothing else of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..data.augment import Augmentation, upload
from ..data.batches import Data
from ..randomness import Purpose, derive_seed
from .metric import Metric


@dataclass(frozen=True, slots=True)
class Chunks:
    """What to evaluate on: take(0) to take(count - 1), each as `Task.make` returns it, the network's input first.

    examples: in all chunks together; with it result.json has their number.
    """

    take: Callable[[int], tuple[Tensor, ...]]
    count: int
    examples: int | None = None


@dataclass(frozen=True)
class Setting:
    """Where a task stands in a run: on which device, and what is this rank's share of the work.

    A gradient is of `batch_size` examples on all ranks together. With `part` = (i, n) this rank takes the i-th of n
    equal parts of each batch; with `chain` = (i, n) it draws batches of its own of batch_size/n examples. `load_data`
    reads the data set that is configured, with its augmentation if there is one; None where there is none.
    """

    device: torch.device
    seed: int
    batch_size: int
    part: tuple[int, int] = (0, 1)
    chain: tuple[int, int] = (0, 1)
    load_data: Callable[[], tuple[Data, Augmentation | None]] | None = None
    dtype: torch.dtype = torch.float32  # of the weights, and of what the task computes with
    bfloat16: bool = False  # is what can be computed in bfloat16 by autocast?

    @property
    def drawn(self) -> int:
        """Examples of a batch as it is drawn, before this rank takes its part."""
        return self.batch_size // self.chain[1]

    def generator(self, k: int, purpose: Purpose = Purpose.AUGMENTATION) -> torch.Generator:
        """For the random numbers of evaluation k, on the CPU: the same on all ranks but for chains."""
        return torch.Generator().manual_seed(derive_seed(self.seed, purpose, k, self.chain[0]))

    def mine(self, drawn: Tensor) -> Tensor:
        """This rank's part of what was drawn for the whole batch on the CPU, on the device."""
        i, n = self.part
        share = len(drawn) // n
        return upload(drawn[i * share : (i + 1) * share], self.device)


class Task(ABC):
    """A loss to be descended and the scores of x.

    A subclass sets `examples` and `fingerprint` in its constructor, which is called as `Task(setting, **keywords)`.
    """

    examples: int  # of one pass: what epochs, budget and batch_size count in
    fingerprint: str  # of the data, or of (name, options, seed) where they are generated
    shape: Mapping[str, Any]  # the keywords that every network of this task is built with
    metrics: Mapping[str, Metric]  # of `scores`, "loss" aside; the first is what runs are compared by
    noun: ClassVar[str] = "example"  # what an example is called, in the singular
    abbreviation: ClassVar[str] = "ex"  # on the progress bar
    result_keys: ClassVar[tuple[str, str]] = ("examples", "examples_per_second")  # of both in result.json
    takes_data: ClassVar[bool] = False  # is there a data set to choose?
    additive: ClassVar[bool] = True  # is the loss a mean over examples? Else hardware.share=data is refused
    # Is the loss made of derivatives by the inputs? Then no bfloat16, no batch norm, and double precision is allowed.
    derivatives: ClassVar[bool] = False
    buffers: ClassVar[tuple[str, ...]] = ()  # names of those that `prepare` registers with the network
    compiles: bool = True  # can torch.compile take the loss?
    captures: bool = True  # can a CUDA graph?
    files: Mapping[str, Sequence[str]] = {}
    evaluations: int = 0  # gradients taken before the batch that is drawn; more than k where batches are repeated
    scheduled: tuple[str, ...] = ()  # the keys by which the loss changes during a run, which L-BFGS cannot follow

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    # Training -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def draw(self, k: int) -> tuple[Tensor, ...]:
        """What batch k is made of, on the device: a function of (seed, k, part, chain) alone, in fixed shapes."""

    def spent(self, k: int) -> int:
        """Gradient evaluations before batch k: what the schedule of a loss goes by, as budgets and `advance` do."""
        return max(k, self.evaluations)

    @abstractmethod
    def make(self, *drawn: Tensor) -> tuple[Tensor, ...]:
        """The batch, the network's input first: on the device alone, without a random number, so it can be captured."""

    @abstractmethod
    def loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        """f, a 0-dim tensor. May draw from the device's default generator, which is seeded by (seed, k, rank)."""

    def prepare(self, model: nn.Module) -> None:  # noqa: B027 -- optional, as those below
        """Before anything is trained: register what the task keeps with the network, as buffers."""

    def advance(self, model: nn.Module, evaluations: int) -> None:  # noqa: B027
        """Between outer steps. May set the network's buffers, never its parameters."""

    # Evaluation -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def splits(self) -> dict[str, Chunks]:
        """ "test" and, if held out, "validation": every example once, in chunks that no number of ranks changes."""

    @abstractmethod
    def statistics(self, most: int) -> Chunks:
        """At most so many training batches, always the same: for batch-norm statistics, and training scores of x."""

    @abstractmethod
    def sums(self, model: nn.Module, *chunk: Tensor) -> Tensor:
        """float64 (m,) of a chunk, in eval mode; added up over the chunks of all ranks.

        The default generator of the device is seeded by (seed, split, chunk).
        """

    @abstractmethod
    def scores(self, sums: Tensor) -> dict[str, float]:
        """ "loss" and every one of `metrics`, from the added sums on the CPU."""

    def report(self, model: nn.Module, folder: Path) -> dict[str, Any] | None:
        """At the end of a run, on the main rank: files of the task's own, as a figure, and what it adds to result.json.

        Of that a "formula", a "floor" (the least first score that can be expected), a "sample" and "notes", a list of
        sentences, are printed.
        """
        return {}

    def inference(self) -> dict[str, Any] | None:
        """What a network of this task takes and returns, to be used without its data: plain types, and tensors.

        None where a network is of no use outside its run.
        """
        return None

    def check_network(self, name: str, network: Callable[..., Any]) -> None:  # noqa: B027
        """Raise UserError if the network called `name` cannot take this task's inputs."""
