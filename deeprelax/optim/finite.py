"""Was a step finite? Asked of its loss and of the norm of d, on a GPU without waiting for the answer."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from .scratch import Block
from .shards import is_sharded, whole_norms

PATIENCE = 5  # steps in a row that are not finite, before a warning


class Finiteness:
    """The norm of the last d, and the count of steps that were not finite.

    Warns once of PATIENCE in a row, where nobody asks; on a CPU, for a GPU would have to be waited for.
    """

    def __init__(self) -> None:
        self.norm: Tensor | float | None = None
        self._bad: Tensor | None = None  # how many, and the number of the first
        self._in_a_row = 0

    def examine(self, blocks: list[Block], loss: Tensor, step: int) -> bool | Tensor:
        """Are the loss and d of this step finite? On a CPU yes or no, on a GPU a 0-dim tensor there.

        So there are two paths through the rest of the step. The host of a CPU asks here and leaves a bad step out; on a
        GPU the outer rule masks it (`outer.py`), and the loop reads the count when it writes.
        """
        norms = [n for block in blocks if block.d for n in torch._foreach_norm(block.d, 2.0, dtype=_wide(block.d))]
        params = [p for block in blocks if not block.plain for p in block.params]
        if any(map(is_sharded, params)):
            norms, loss = whole_norms([p for block in blocks for p in block.params], norms, loss)
        if loss.device.type == "cpu":
            self.norm = norm = math.hypot(*(n.item() for n in norms))
            if math.isfinite(norm) and math.isfinite(loss.item()):
                self._in_a_row = 0
                return True
            self._warn()
            bad = torch.ones((), dtype=torch.bool)
        else:
            total = torch.stack([n.to(loss.device) for n in norms]) if norms else torch.zeros_like(loss)
            self.norm = on_device = torch.linalg.vector_norm(total)
            bad = ~(torch.isfinite(on_device) & torch.isfinite(loss))
        if self._bad is None:
            self._bad = torch.zeros(2, dtype=torch.int64, device=loss.device)
        count, first = self._bad
        first.masked_fill_((count == 0) & bad, step)
        count += bad
        return False if loss.device.type == "cpu" else ~bad

    def _warn(self) -> None:
        self._in_a_row += 1
        if self._in_a_row == PATIENCE:
            warnings.warn(f"{PATIENCE} steps in a row were not finite and changed nothing: lower lr", stacklevel=6)

    def count(self) -> tuple[int, int]:
        """Steps since the last call that were not finite, and the number of the first. Who asks needs no warning."""
        bad, self._bad, self._in_a_row = self._bad, None, 0
        count, first = (0, 0) if bad is None else bad.tolist()
        return count, first


def _wide(tensors: list[Tensor]) -> torch.dtype | None:
    """float32 for half precision, whose squares soon overflow."""
    return torch.float32 if {torch.float16, torch.bfloat16} & {t.dtype for t in tensors} else None
