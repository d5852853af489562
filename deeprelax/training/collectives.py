"""What training asks of the other ranks of a run; `parallel/ranks.py` answers with torch.distributed."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


class Collectives(Protocol):
    """This process among its peers. Every rank must make the same calls in the same order."""

    @property
    def rank(self) -> int: ...

    @property
    def world(self) -> int:
        """How many ranks there are."""

    def gather(self, value: Any) -> list[Any]:
        """The value of every rank in their order, on the main rank; [] on the others."""

    def sum_(self, tensor: Tensor) -> None:
        """The tensor to its sum over the ranks, in place."""
