"""Products with the Hessian and the Gauss-Newton matrix: what they are, and what they keep in memory."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from deeprelax.data.sources import memory
from deeprelax.flatness import hessian_eigenvalues
from deeprelax.flatness.curvature import SHARE, Curvature
from deeprelax.flatness.loss import BatchedLoss

from .problems import batch_losses, close, dense_hessian, network, quadratic, written_out


def test_linear_regression() -> None:
    """(2/N) X'X, of ragged batches of N = 23 rows."""
    rows = torch.randn(23, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w = nn.Parameter(torch.zeros(6, dtype=torch.float64))
    parts = [(float(len(x)), lambda x=x: (x @ w - 1).square().mean()) for x in rows.split(10)]
    close(Curvature(BatchedLoss(parts, [w])).dense(), 2 / 23 * rows.T @ rows, 1e-12)


def test_block_of_a_layer() -> None:
    net, batches = network()
    own = net[0].weight.numel() + net[0].bias.numel()  # type: ignore[index, union-attr, operator]
    expected = dense_hessian(net, batches)[:own, :own]
    block = Curvature(BatchedLoss(batch_losses(net, batches), net[0].parameters()))  # type: ignore[index]
    close(block.dense(), expected, 1e-12)


def test_gauss_newton_of_a_network() -> None:
    net, batches = network()
    images, labels = (torch.cat(each) for each in zip(*batches, strict=True))
    rows = []
    for z in net(images).flatten():
        grads = torch.autograd.grad(z, list(net.parameters()), retain_graph=True)
        rows.append(torch.cat([g.flatten() for g in grads]))
    jacobian = torch.stack(rows).view(len(labels), 3, -1)
    p = net(images).detach().softmax(1)
    inner = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    expected = torch.einsum("nia,nij,njb->ab", jacobian, inner, jacobian) / len(labels)
    losses = batch_losses(net, batches)
    close(Curvature(BatchedLoss(losses, net.parameters()), gauss_newton=True).dense(), expected, 1e-12)


def test_a_parameter_that_the_loss_does_not_use_or_is_linear_in() -> None:
    x, y, z = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(3))
    matrix = Curvature(BatchedLoss(lambda: (x**2).sum() + y.sum(), [x, y, z])).dense()
    assert torch.equal(matrix, torch.diag(torch.tensor([2.0, 2, 0, 0, 0, 0], dtype=torch.float64)))
    assert hessian_eigenvalues(lambda: y.sum(), [y], k=2).values.tolist() == [0, 0]


def test_attention_is_differentiated_twice() -> None:
    q = nn.Parameter(torch.randn(1, 2, 4, 3, generator=torch.Generator().manual_seed(0)).double())
    key = torch.randn(1, 2, 4, 3, generator=torch.Generator().manual_seed(1)).double()

    def loss() -> Tensor:
        return nn.functional.scaled_dot_product_attention(q, key, key, is_causal=True).square().sum()

    def plain(x: Tensor) -> Tensor:
        scores = (x.view_as(q) @ key.transpose(-1, -2)) / 3**0.5
        mask = torch.ones(4, 4, dtype=torch.bool).tril()
        return (scores.masked_fill(~mask, -torch.inf).softmax(-1) @ key).square().sum()

    close(Curvature(BatchedLoss(loss, [q])).dense(), written_out(plain, q.detach().flatten()), 1e-10)


def test_as_curvlinops_has_it() -> None:
    """Another library's Hessian and Gauss-Newton operators."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        curvlinops = pytest.importorskip("curvlinops")
    net, batches = network()
    parameters, losses = list(net.parameters()), BatchedLoss(batch_losses(net, batches), net.parameters())
    v = torch.randn(losses.d, generator=torch.Generator().manual_seed(0)).double()
    for kind, gauss_newton in ((curvlinops.HessianLinearOperator, False), (curvlinops.GGNLinearOperator, True)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rival = kind(net, nn.CrossEntropyLoss(), parameters, batches)
            expected = rival @ v
        close(Curvature(losses, gauss_newton=gauss_newton)(v), expected, 1e-6)


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


def test_the_kept_graphs_go_with_the_last_reference() -> None:
    """Without a pass of the garbage collector: the next measure needs their memory."""
    loss, x, _ = quadratic(4)
    gc.disable()
    try:
        curvature = Curvature(BatchedLoss(loss, [x]))
        there = weakref.ref(curvature)
        del curvature
        assert there() is None
    finally:
        gc.enable()
