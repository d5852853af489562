"""Functions for L-BFGS to descend, and what a state is, byte for byte."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

F = Callable[[], Tensor]


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def closure_of(optimizer: torch.optim.Optimizer, f: F, calls: list[float] | None = None) -> F:
    """f with its gradient, as the README's loop has it; each loss goes into `calls`."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = f()
        loss.backward()
        if calls is not None:
            calls.append(loss.item())
        return loss

    return closure


def of_network(net: nn.Module) -> F:
    """Its loss on one batch."""
    generator = torch.Generator().manual_seed(7)
    dtype = next(net.parameters()).dtype
    x, y = torch.randn(8, 1, 6, 6, generator=generator).to(dtype), torch.randint(4, (8,), generator=generator)
    return lambda: nn.functional.cross_entropy(net(x), y)


def flat(kept: object) -> list[object]:
    """The numbers of a state, tensors as their data type and bytes."""
    if isinstance(kept, dict):
        return [(key, flat(value)) for key, value in kept.items()]
    if isinstance(kept, list):
        return [flat(value) for value in kept]
    return [(str(kept.dtype), kept.numpy().tobytes())] if isinstance(kept, Tensor) else [kept]


def state_of(optimizer: torch.optim.Optimizer) -> list[object]:
    return flat(optimizer.state_dict())
