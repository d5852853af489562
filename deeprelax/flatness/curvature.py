"""Products with the Hessian of a loss, or with its Gauss-Newton matrix, on graphs that are kept between them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..data.sources import memory
from .convolution import Convolutions
from .loss import BatchedLoss, Closure, Composite, first_derivative, twice_differentiable

SHARE = 0.5  # of the free memory that kept graphs may take
Product = Callable[[list[Tensor]], tuple[Tensor, ...]]  # of one batch, in tensors like the parameters


class Curvature:
    """v -> H v, H the Hessian of f at the parameters as they were when this was made, (d, d).

    Reverse mode twice: H v = d(grad f . v)/dx. The graph of grad f of a batch is kept, so that a product costs less
    than two gradients; of batches for which there is no memory it is made again in each product, at the cost of one
    gradient more and some. Products are added up over the batches, each with its weight.

    With `gauss_newton`, G = sum_i w_i J_i' C_i J_i in its place, J_i the Jacobian of the outputs of batch i, C_i the
    Hessian of the criterion in them (Schraudolph 2002; arXiv 1412.1193): the Hessian of f without the
    curvature of the network itself, never negative for a convex criterion.

    Args:
        loss: its batches must be `Composite` for a Gauss-Newton matrix.
        keep: keep all graphs, or none; None: as many as fit into half of the free memory, none if that is unknown.
        progress: called after each product.
    """

    def __init__(
        self, loss: BatchedLoss, *, gauss_newton: bool = False, keep: bool | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        if gauss_newton and not all(isinstance(closure, Composite) for _, closure in loss.batches):
            raise ValueError("a Gauss-Newton matrix is of a loss of outputs: give Composite(outputs, criterion)")
        self.loss, self.d, self.products, self._progress = loss, loss.d, 0, progress
        self.scales: dict[int, float] = {}  # its size, by the seed of the vector that told
        self._newton = gauss_newton
        room = self._room(keep)
        self._kept: list[Product | None] = [
            self._graph(closure) if i < room else None for i, (_, closure) in enumerate(loss.batches)
        ]

    def __call__(self, v: Tensor) -> Tensor:
        """H v for v of (d,), in the parameters' data type and on their device; v may have others."""
        self.products += 1
        pieces, total = self.loss.split(v), self.loss.zeros()
        for (weight, closure), kept in zip(self.loss.batches, self._kept, strict=True):
            torch._foreach_add_(total, (kept or self._graph(closure))(pieces), alpha=weight)
        self._progress()
        found = self.loss.flat(total)
        if not bool(found.isfinite().all()):
            raise ValueError("the loss has no finite second derivative at these weights")
        return found

    def dense(self) -> Tensor:
        """H itself, (d, d), float64 on the CPU, by d products; symmetric."""
        unit, found = (torch.zeros(*size, dtype=torch.float64) for size in ((self.d,), (self.d, self.d)))
        for i, row in enumerate(found):
            unit[i] = 1
            row.copy_(self(unit))
            unit[i] = 0
        return (found + found.T).div_(2)

    def _graph(self, closure: Closure) -> Product:
        return self._gauss_newton(closure) if self._newton else self._hessian(closure)

    def _hessian(self, closure: Closure) -> Product:
        parameters = self.loss.parameters
        with torch.enable_grad(), twice_differentiable(), Convolutions():
            gradient = first_derivative(closure(), parameters, create_graph=True)
        pairs = [(i, g) for i, g in enumerate(gradient) if g.requires_grad]  # the others are constant

        def product(v: list[Tensor]) -> tuple[Tensor, ...]:
            if not pairs:
                return tuple(map(torch.zeros_like, parameters))
            return torch.autograd.grad(
                [g for _, g in pairs], parameters, [v[i] for i, _ in pairs],
                retain_graph=True, allow_unused=True, materialize_grads=True,
            )  # fmt: skip

        return product

    def _gauss_newton(self, closure: Closure) -> Product:
        assert isinstance(closure, Composite)
        parameters = self.loss.parameters
        with torch.enable_grad(), twice_differentiable(), Convolutions():
            outputs = closure.outputs()
            leaf = outputs.detach().requires_grad_()
            slope = torch.autograd.grad(closure.criterion(leaf), leaf, create_graph=True)[0]
            any_vector = torch.zeros_like(outputs, requires_grad=True)
            transposed = first_derivative(outputs, parameters, grad_outputs=any_vector, create_graph=True)  # J' u
        pairs = [(i, g) for i, g in enumerate(transposed) if g.requires_grad]

        def product(v: list[Tensor]) -> tuple[Tensor, ...]:
            if not pairs or not slope.requires_grad:
                return tuple(map(torch.zeros_like, parameters))
            # J' u is linear in u, so that its derivative in u along v is J v
            forward = torch.autograd.grad(
                [g for _, g in pairs], any_vector, [v[i] for i, _ in pairs], retain_graph=True
            )
            curved = torch.autograd.grad(slope, leaf, forward[0], retain_graph=True)
            return first_derivative(outputs, parameters, grad_outputs=curved[0], retain_graph=True)

        return product

    def _room(self, keep: bool | None) -> int:
        """Of how many batches the graphs can be kept."""
        if keep is not None or len(self.loss.batches) == 1:
            return len(self.loss.batches) if keep in (True, None) else 0
        sizes: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            self._graph(self.loss.batches[0][1])
        free = memory.available(self.loss.device) or 0
        return int(SHARE * max(0, free) / max(1, sum(sizes.values())))
