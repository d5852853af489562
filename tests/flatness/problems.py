"""Losses whose flatness is known: quadratics, and small networks whose dense Hessian torch.func can write out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from deeprelax.flatness import Composite


def quadratic(d: int, seed: int = 0, at: float = 1.0) -> tuple[Callable[[], Tensor], nn.Parameter, Tensor]:
    """f = x'Ax/2, its parameter at |x| = `at`, and A, whose eigenvalues go from -1.25 to 10, most of them near 0."""
    generator = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))[0]
    values = 10 * torch.linspace(-0.5, 1, d, dtype=torch.float64) ** 3
    a = q * values @ q.T
    x = torch.randn(d, generator=generator, dtype=torch.float64)
    parameter = nn.Parameter(at * x / x.norm())
    return lambda: parameter @ a @ parameter / 2, parameter, a


class Net(nn.Sequential):
    """Convolution, ReLU, pooling, batch norm, a linear layer, as LeNet has them; 198 parameters."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(45, 3, bias=True)
        )


def network(seed: int = 0) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    """The net in float64 and eval mode, with statistics of its data, and batches of 7, 7 and 3 images of 8 x 8."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Net().double()
        images, labels = torch.randn(17, 1, 8, 8).double(), torch.randint(3, (17,))
        for p in net.parameters():
            p.data += 0.2 * torch.randn_like(p)
    net.train()
    net(images)
    net.eval()
    return net, list(zip(images.split(7), labels.split(7), strict=True))


def batch_losses(net: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> list[tuple[float, Composite]]:
    """Mean cross-entropy of each batch, weighted by its number of images."""

    def composite(images: Tensor, labels: Tensor) -> Composite:
        return Composite(lambda: net(images), lambda z: nn.functional.cross_entropy(z, labels))

    return [(float(len(labels)), composite(images, labels)) for images, labels in batches]


def dense_hessian(net: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Of the mean loss of all images at once, in the order of net.parameters()."""
    images, labels = (torch.cat(each) for each in zip(*batches, strict=True))
    shapes = {name: p.shape for name, p in net.named_parameters()}
    buffers = dict(net.named_buffers())

    def loss(x: Tensor) -> Tensor:
        pieces = x.split([shape.numel() for shape in shapes.values()])
        weights = {name: piece.view(shape) for piece, (name, shape) in zip(pieces, shapes.items(), strict=True)}
        return nn.functional.cross_entropy(functional_call(net, weights | buffers, (images,)), labels)

    x = torch.cat([p.detach().flatten() for p in net.parameters()])
    return written_out(loss, x)


def written_out(loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The Hessian (d, d) of a function of one vector. (torch.func.hessian is the same, and warns of its own code.)"""
    found: Tensor = jacrev(jacrev(loss))(x)
    return found


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """To so much of the largest expected number."""
    assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())
