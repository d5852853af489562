"""What products with the Hessian keep in memory, and what they make again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from deeprelax.data.sources import memory
from deeprelax.flatness.curvature import SHARE, Curvature
from deeprelax.flatness.loss import BatchedLoss

from .problems import batch_losses, network


def counted(calls: list[int]) -> BatchedLoss:
    """The mean losses of batches of 7, 7 and 3 images, which note when they are called."""
    net, batches = network()

    def noting(i: int, closure: Callable[[], Tensor]) -> Callable[[], Tensor]:
        return lambda: (calls.append(i), closure())[1]

    losses = batch_losses(net, batches)
    loss = BatchedLoss([(weight, noting(i, each)) for i, (weight, each) in enumerate(losses)], net.parameters())
    calls.clear()
    return loss


def of_a_graph(loss: BatchedLoss) -> int:
    """Bytes of what the graph of the first batch's gradient keeps."""
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        kept = torch.autograd.grad(loss.batches[0][1](), loss.parameters, create_graph=True)
    assert kept
    return sum(sizes.values())


@pytest.mark.parametrize("fits", [0, 1, 2, 3, None])
def test_as_many_graphs_are_kept_as_fit_into_half_of_the_free_memory(
    fits: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are made again in each product, which is the same to the bit; None: the system does not tell."""
    calls: list[int] = []
    loss = counted(calls)
    size = of_a_graph(loss)
    free = None if fits is None else int((fits + 0.5) * size / SHARE)
    monkeypatch.setattr(memory, "available", lambda _: free)
    curvature = Curvature(loss)
    v = torch.randn(loss.d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    calls.clear()
    found = curvature(v)
    assert calls == [0, 1, 2][fits or 0 :]
    calls.clear()
    assert torch.equal(curvature(v), found)
    assert calls == [0, 1, 2][fits or 0 :]
    assert torch.equal(Curvature(loss, keep=True)(v), found)
    monkeypatch.setattr(memory, "available", lambda _: pytest.fail("asked, though it does not matter"))
    calls.clear()
    Curvature(loss, keep=False)(v)
    assert calls == [0, 1, 2]


def test_memory_that_is_overdrawn_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A control group may use more than its limit for a moment."""
    calls: list[int] = []
    loss = counted(calls)
    monkeypatch.setattr(memory, "available", lambda _: -5)
    curvature = Curvature(loss)
    calls.clear()
    curvature(torch.ones(loss.d, dtype=torch.float64))
    assert calls == [0, 1, 2]
