"""Was a step finite? Asked of its loss and of the norm of d, on a GPU without waiting for the answer."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from .scratch import Block, host_knows
from .shards import is_sharded, whole_norms

PATIENCE = 5  # steps in a row that are not finite, before a warning


class Finiteness:
    """The norm of the last d, and the count of steps that were not finite.

    Warns once of PATIENCE in a row, where nobody asks; on a CPU, for a GPU would have to be waited for.
    """

    def __init__(self) -> None:
        self._norms: Tensor | float | None = None  # of the last d: its own, or on a GPU those of its parameters
        self._since: int | None = None  # the number of the first step that is counted here
        self._bad: list[int] | Tensor = [0, 0]  # how many, and how many steps came before the first
        self._in_a_row = 0

    @property
    def norm(self) -> Tensor | float | None:
        """Of the last d; None before the first step. On a GPU a 0-dim tensor there, taken when it is asked for."""
        return torch.linalg.vector_norm(self._norms) if isinstance(self._norms, Tensor) else self._norms

    def examine(self, blocks: list[Block], loss: Tensor, step: int) -> bool | Tensor:
        """Are the loss and d of this step finite? On a CPU yes or no, on a GPU a 0-dim tensor there.

        So there are two paths through the rest of the step. The host of a CPU asks here and leaves a bad step out; on a
        GPU the outer rule masks it (`outer.py`), and the loop reads the count when it writes.
        """
        norms = [n for block in blocks if block.d for n in torch._foreach_norm(block.d, 2.0, dtype=_wide(block.d))]
        params = [p for block in blocks if not block.plain for p in block.params]
        if any(map(is_sharded, params)):
            norms, loss = whole_norms([p for block in blocks for p in block.params], norms, loss)
        if not host_knows(loss):
            self._since = step if self._since is None else self._since
            return self._on_device(norms, loss, step)
        return self.decide(math.hypot(*(n.item() for n in norms)), loss.item(), step)

    def decide(self, norm: float, loss: float, step: int) -> bool:
        """Are the norm of a step's d and its loss finite? Counts the step if they are not."""
        self._since = step if self._since is None else self._since
        self._norms = norm
        if math.isfinite(norm) and math.isfinite(loss):
            self._in_a_row = 0
            return True
        self._warn()
        if isinstance(self._bad, Tensor):  # of a network that has left a GPU
            self._bad = self._bad.tolist()
        self._bad = [self._bad[0] + 1, self._bad[1] if self._bad[0] else step - self._since]
        return False

    def _on_device(self, norms: list[Tensor], loss: Tensor, step: int) -> Tensor:
        """Few small kernels, and no number of the host's: a graph may replay them."""
        if isinstance(self._bad, list) or self._bad.device != loss.device:
            count = self._bad[0] if isinstance(self._bad, list) else self._bad.tolist()[0]
            if count:  # on another device, and not asked for
                self._bad = torch.as_tensor(self._bad, device=loss.device)
            else:
                self._since, self._bad = step, torch.zeros(2, dtype=torch.int64, device=loss.device)
        numbers = torch.stack([*(n.to(loss.device) for n in norms), loss.detach()])
        self._norms = numbers[:-1]
        # in double precision no square of a finite number overflows; NaN is not smaller
        finite: Tensor = torch.linalg.vector_norm(numbers, dtype=torch.float64) < torch.inf
        count, before = self._bad
        count += ~finite
        before += count == 0
        return finite

    def _warn(self) -> None:
        self._in_a_row += 1
        if self._in_a_row == PATIENCE:
            warnings.warn(f"{PATIENCE} steps in a row were not finite and changed nothing: lower lr", stacklevel=7)

    def count(self, steps: int) -> tuple[int, int]:
        """Steps since the last call that were not finite, and the number of the first. Who asks needs no warning.

        `steps`: the number of the next step.
        """
        count, before = self._bad if isinstance(self._bad, list) else self._bad.tolist()
        first = (self._since or 0) + before if count else 0
        self._since, self._in_a_row = steps, 0
        if isinstance(self._bad, list):
            self._bad = [0, 0]
        else:
            self._bad.zero_()
        return count, first


def norm_of(params: list[Tensor], tensors: list[Tensor]) -> float | Tensor:
    """Euclidean norm of tensors, one for each of these parameters, over all shards.

    A number where the host knows it, on a GPU a 0-dim tensor there, as for a compiler.
    """
    norms = list(torch._foreach_norm(tensors, 2.0, dtype=_wide(tensors))) if tensors else []
    if any(map(is_sharded, params)):
        norms, _ = whole_norms(params, norms, torch.zeros((), device=norms[0].device))
    if all(map(host_knows, norms)) and not torch.compiler.is_compiling():
        return math.hypot(*(n.item() for n in norms))
    total: Tensor = torch.linalg.vector_norm(torch.stack([n.to(norms[0].device) for n in norms]))
    return total


def _wide(tensors: list[Tensor]) -> torch.dtype | None:
    """What norms are taken in where there is half precision, whose squares soon overflow: the widest of the others."""
    dtypes = {t.dtype for t in tensors}
    if not {torch.float16, torch.bfloat16} & dtypes:
        return None
    return torch.float64 if torch.float64 in dtypes else torch.float32
