"""How the work is shared among ranks: by how few operations and bytes, and that drift is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from deeprelax.digest import PIECE, digest
from deeprelax.errors import UserError
from deeprelax.models.wide_resnet import WideResNet
from deeprelax.optim import EntropySGD
from deeprelax.parallel.ranks import SOLO, Ranks
from deeprelax.training.share import Share
from tests.images import classification, random_images


class Operations(TorchDispatchMode):
    """Counts what is computed or copied; a view is neither."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view and "split" not in str(func):
            self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@dataclass
class Twins:
    """One of two ranks that compute the same."""

    rank: int = 0
    world: int = 2

    def sum_(self, tensor: Tensor) -> None:
        tensor.mul_(2)

    def gather(self, value: Any) -> list[Any]:
        return [value] * 2


def network() -> nn.Module:
    """WRN-16-1 in the memory format that training has: 43 tensors."""
    return WideResNet(3, 32, 10, depth=16, width=1).to(memory_format=torch.channels_last)


def test_a_loss_that_is_no_mean_is_not_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    task = classification(random_images(20), 4)
    Share(Ranks(0, 2, 0, 2), "data").check(task)
    monkeypatch.setattr(type(task), "additive", False)
    Share(SOLO, "data").check(task)
    Share(Ranks(0, 2, 0, 2), "chains").check(task)
    with pytest.raises(UserError, match="this loss is no mean: use hardware"):
        Share(Ranks(0, 2, 0, 2), "data").check(task)


def test_gradients_of_many_tensors_are_averaged_by_a_handful_of_operations() -> None:
    model, flags, share = network(), torch.zeros(2), Share(Twins())
    after = share.after_backward(model, flags)
    assert after is not None
    loss = model(torch.randn(2, 3, 32, 32).to(memory_format=torch.channels_last)).square().mean()
    loss.backward()
    before = [p.grad.clone() for p in model.parameters()]  # type: ignore[union-attr]
    with Operations() as counted:
        mean = after(loss)
    assert len(before) > 40
    assert len(counted.names) <= 7, counted.names  # torch's own buckets: two copies of each tensor
    assert mean.item() == loss.item()
    for old, p in zip(before, model.parameters(), strict=True):
        assert torch.equal(old, p.grad)  # type: ignore[arg-type]
        assert old.stride() == p.grad.stride()  # type: ignore[union-attr]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.complex64])
def test_a_loss_travels_in_a_type_that_holds_it(dtype: torch.dtype) -> None:
    """With a gradient in half precision alone, or a complex one, it goes by itself."""
    weight = nn.Parameter(torch.ones(3, 2, dtype=dtype))
    model, share = nn.Module(), Share(Twins())
    model.register_parameter("weight", weight)
    after = share.after_backward(model, torch.zeros(2))
    assert after is not None
    weight.grad = torch.arange(6.0).to(dtype).reshape(2, 3).t()  # not dense in either memory format
    assert after(torch.tensor(1e6)).item() == 1e6
    assert torch.equal(weight.grad, torch.arange(6.0).to(dtype).reshape(2, 3).t())


def test_directions_of_chains_are_averaged_where_they_lie() -> None:
    model, flags, share = network(), torch.tensor([0.0, 1.0]), Share(Twins(), "chains")
    optimizer = EntropySGD(model.parameters(), inner_steps=2)
    share.average(optimizer, flags, model)
    average, counts = optimizer.reduce_direction, []
    assert average is not None

    def counted(tensors: list[Tensor]) -> None:
        before = [t.clone() for t in tensors]
        with Operations() as operations:
            average(tensors)
        counts.append(operations.names)
        assert all(torch.equal(a, b) for a, b in zip(before, tensors, strict=True))

    optimizer.reduce_direction = counted
    images = torch.randn(2, 3, 32, 32)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = model(images).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert len(counts[0]) <= 7, counts[0]  # once 61
    assert flags.tolist() == [0.0, 1.0]
    assert share.traffic_bytes == 4 * (sum(p.numel() for p in model.parameters()) + 3)


def test_directions_that_lie_elsewhere_are_averaged_too() -> None:
    """As a class of the user's may leave them."""
    p = nn.Parameter(torch.ones(3))
    model, share = nn.Module(), Share(Twins(), "chains")
    model.register_parameter("p", p)
    optimizer = EntropySGD([p])
    share.average(optimizer, torch.zeros(2), model)
    d, loss = torch.arange(3.0), torch.tensor(2.0)
    assert optimizer.reduce_direction is not None
    optimizer.reduce_direction([d, loss])
    assert (d.tolist(), loss.item()) == ([0.0, 1.0, 2.0], 2.0)
    assert share.traffic_bytes == 4 * (3 + 3)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.complex64, torch.int64, torch.uint8]
)
def test_a_digest_tells_any_bit(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    raw = torch.randint(256, (5, 48), generator=generator, dtype=torch.uint8)
    known = digest([raw.view(dtype)])
    for _ in range(200):
        row, byte, bit = (int(torch.randint(n, (), generator=generator)) for n in (*raw.shape, 8))
        raw[row, byte] ^= 1 << bit
        assert digest([raw.view(dtype)]) != known
        raw[row, byte] ^= 1 << bit
    assert digest([raw.view(dtype)]) == known


def test_a_digest_is_of_values_and_their_order_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = torch.randn(2, 3, 4, 5), torch.randn(7)
    kept, known = a.clone(), digest([a, b])
    assert known.dtype == torch.int64
    assert digest([a.to(memory_format=torch.channels_last), b]) == known
    assert torch.equal(a, kept)
    assert digest([b, a]) != known
    assert digest([a, b.flip(0)]) != known
    assert digest([a * (1 + 2**-23), b]) != known
    double = torch.ones(3, dtype=torch.float64)
    digest([double])
    assert torch.equal(double, torch.ones(3, dtype=torch.float64))  # read, where no cast makes a copy
    assert a.numel() < PIECE
    monkeypatch.setattr("deeprelax.digest.PIECE", 11)
    assert digest([a, b]) == known
    # by its definition, in Python's whole numbers
    total, weight = 0, 0
    for i, number in enumerate(torch.cat([a.flatten(), b]).view(torch.int32).tolist(), 1):
        weight = i
        for factor in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9):
            weight = weight * factor % 2**64
            signed = weight - 2**64 * (weight >= 2**63)
            weight ^= (signed >> 31) % 2**64
        total += (weight | 1) * number
    assert known.item() % 2**64 == total % 2**64
