"""Losses with known relaxations, and a small network with its batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deeprelax.optim import Relaxation
from tests.optimizers import OPTIMIZERS

ALL = pytest.mark.parametrize("name", OPTIMIZERS)


def descend(optimizer: Relaxation, f: Callable[[], Tensor]) -> Tensor:
    """One step on the loss f, evaluated as it stands at every closure call."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = f()
        loss.backward()
        return loss

    return optimizer.step(closure, again=closure)


def direction(make: Callable[..., Relaxation], x: Tensor, f: Callable[[Tensor], Tensor], **keywords: object) -> Tensor:
    """d(x) of a fresh optimizer: one step with lr = 1 and no momentum moves x by -d."""
    p = torch.nn.Parameter(x.clone())
    descend(make([p], lr=1.0, momentum=0.0, **keywords), lambda: f(p))
    return x - p.detach()


def random_quadratic(n: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A symmetric positive definite A with eigenvalues in [0.05, 3], a minimum x*, a point x."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    a = q @ np.diag(np.linspace(0.05, 3.0, n)) @ q.T
    return (a + a.T) / 2, rng.normal(size=n), rng.normal(size=n)


def quadratic_loss(a: np.ndarray, minimum: np.ndarray) -> Callable[[Tensor], Tensor]:
    """f = 1/2 (x - x*)' A (x - x*)."""
    matrix, x_star = torch.from_numpy(a), torch.from_numpy(minimum)
    return lambda x: 0.5 * (x - x_star) @ matrix @ (x - x_star)


def matrix_function(a: np.ndarray, f: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """f applied to the eigenvalues of the symmetric matrix a."""
    eigenvalues, vectors = np.linalg.eigh(a)
    return vectors @ np.diag(f(eigenvalues)) @ vectors.T


def network(dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))
    return net.to(dtype)


class Batches:
    """A closure on the next of a sequence of seeded batches."""

    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.net, self.optimizer, self.calls = net, optimizer, 0
        self.dtype = next(net.parameters()).dtype

    def __call__(self) -> Tensor:
        self.calls += 1
        return self.again()

    def again(self) -> Tensor:
        """On the batch of the last call."""
        generator = torch.Generator().manual_seed(self.calls - 1)
        x = torch.randn(8, 1, 6, 6, generator=generator).to(self.dtype)
        y = torch.randint(4, (8,), generator=generator)
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.net(x), y)
        loss.backward()
        return loss


def weights(net: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in net.parameters()]


def identical(a: Any, b: Any) -> bool:
    """Do two states hold the same, tensors to the last digit? Scratch that nothing has filled may be NaN in both."""
    if isinstance(a, Tensor):
        alike = isinstance(b, Tensor) and (a.dtype, a.shape) == (b.dtype, b.shape)
        return alike and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(identical(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(identical, a, b))
    return bool(a == b)


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


def call(optimizer: Relaxation, batches: Batches, times: int) -> None:
    """loss.backward(); optimizer.step(); optimizer.zero_grad()."""
    for _ in range(times):
        optimizer.loss = batches.again() if optimizer.same_batch() else batches()
        assert optimizer.step() is None
        optimizer.zero_grad()


def pair(name: str) -> tuple[list[nn.Module], list[Relaxation], list[Batches]]:
    """Two of the same, the second for calls without a closure."""
    nets = [network(), network()]
    optimizers = [OPTIMIZERS[name].build(net.parameters()) for net in nets]
    optimizers[1].begin()
    return nets, optimizers, [Batches(net, optimizer) for net, optimizer in zip(nets, optimizers, strict=True)]
