"""A loss at given weights: a weighted mean of batch losses, with its value and its gradient there and around."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..randomness import Purpose, derive_seed

Closure = Callable[[], Tensor]
Loss = Closure | Iterable[tuple[float, Closure]]


@dataclass(frozen=True)
class Composite:
    """The loss of a batch as criterion(outputs()), of which a Gauss-Newton matrix can be taken.

    outputs: the network's outputs on the batch, any shape. criterion: from them to the mean loss, a 0-dim tensor.
    """

    outputs: Closure
    criterion: Callable[[Tensor], Tensor]

    def __call__(self) -> Tensor:
        return self.criterion(self.outputs())


class BatchedLoss:
    """f(x) = sum_i w_i f_i(x) / sum_i w_i over batches, x being the parameters as one vector of d numbers.

    With w_i the number of examples of batch i and f_i the mean over them, f is the mean over all examples, whatever the
    size of the last batch.

    Args:
        loss: returns f as a 0-dim tensor, the same at each call; or (weight, such a function) for each batch.
        parameters: real tensors of one data type and device that require gradients. Others stay as they are.
        unused: may it be that f depends on none of them, as on those of one layer of a network?

    Raises ValueError for a loss that is not deterministic, not finite or no number, for weights that are not positive,
    and if there are no parameters or no batches, or parameters of several types.
    """

    def __init__(self, loss: Loss, parameters: Iterable[Tensor], *, unused: bool = False) -> None:
        self.parameters = [p for p in tensors(parameters) if p.requires_grad]
        if not self.parameters:
            raise ValueError("there are no parameters that require gradients")
        kinds = {(p.dtype, p.device) for p in self.parameters}
        if len(kinds) > 1 or not self.parameters[0].is_floating_point():
            named = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
            raise ValueError(f"parameters must be real, of one data type and on one device, not {named}")
        self.dtype, self.device = self.parameters[0].dtype, self.parameters[0].device
        self.d = sum(p.numel() for p in self.parameters)
        batches: list[tuple[float, Closure]] = [(1.0, loss)] if callable(loss) else list(loss)
        if not batches:
            raise ValueError("there are no batches: the iterable is empty, or used up")
        if not all(isinstance(each, tuple | list) and len(each) == 2 and callable(each[1]) for each in batches):
            raise ValueError("the loss must be a function without arguments, or pairs (weight, function) of batches")
        if not all(0 < weight < math.inf for weight, _ in batches):
            raise ValueError("the weight of a batch must be positive and finite: give its number of examples")
        whole = sum(weight for weight, _ in batches)
        self.batches = [(weight / whole, closure) for weight, closure in batches]
        self.evaluations = 0  # of f, with or without a gradient
        self._check(unused)

    def _check(self, unused: bool) -> None:
        """Raise ValueError unless all batches give a finite number, the first the same twice, and one a gradient."""
        used = unused
        for _, closure in self.batches:
            with torch.set_grad_enabled(not used):
                found = closure()
            if not isinstance(found, Tensor):
                raise ValueError(f"the loss must be a tensor, which has a gradient, not {type(found).__name__}")
            if found.numel() != 1 or not found.is_floating_point():
                raise ValueError(f"the loss must be one real number, not {found.dtype} of shape {tuple(found.shape)}")
            if not math.isfinite(value := found.item()):
                raise ValueError(f"the loss is {value} at these weights")
            used = used or _depends(found, self.parameters)
        if not used:
            raise ValueError(
                "the loss depends on none of the parameters: are they those of the network that it calls, and is it "
                "computed without detach() and no_grad()?"
            )
        with torch.no_grad():
            one, other = (self.batches[0][1]().item() for _ in range(2))
        if one != other:
            raise ValueError(
                f"two calls of the loss gave {one!r} and {other!r}: it must be deterministic, so call model.eval(), "
                "which switches dropout off and fixes batch norm, and draw batches once"
            )

    def value(self) -> float:
        """f at the parameters as they are now, added up in float64."""
        self.evaluations += 1
        with torch.no_grad():
            return math.fsum(weight * closure().item() for weight, closure in self.batches)

    def gradient(self) -> Tensor:
        """grad f at the parameters as they are now, (d,)."""
        return self.value_and_gradient()[1]

    def value_and_gradient(self) -> tuple[float, Tensor]:
        """Both at the cost of the gradient."""
        self.evaluations += 1
        total, gradient = 0.0, self.zeros()
        for weight, closure in self.batches:
            with torch.enable_grad():
                found = closure()
            total += weight * found.item()
            torch._foreach_add_(gradient, first_derivative(found, self.parameters), alpha=weight)
        return total, self.flat(gradient)

    @contextlib.contextmanager
    def shifted(self) -> Iterator[Callable[[Tensor], None]]:
        """Within the `with` the function that it gives puts the parameters at x + e, e of (d,); afterwards they are x.

        Bit for bit, on an exception too.
        """
        x = [p.detach().clone() for p in self.parameters]

        def shift(e: Tensor) -> None:
            with torch.no_grad():
                for p, start, piece in zip(self.parameters, x, self.split(e), strict=True):
                    p.copy_(start + piece)

        try:
            yield shift
        finally:
            with torch.no_grad():
                for p, start in zip(self.parameters, x, strict=True):
                    p.copy_(start)

    def split(self, flat: Tensor) -> list[Tensor]:
        """(d,) as one tensor like each parameter."""
        pieces = flat.to(self.device, self.dtype).split([p.numel() for p in self.parameters])
        return [piece.view(p.shape) for piece, p in zip(pieces, self.parameters, strict=True)]

    def flat(self, tensors: Iterable[Tensor]) -> Tensor:
        """Tensors like the parameters as one vector (d,)."""
        return torch.cat([each.detach().reshape(-1) for each in tensors])

    def zeros(self) -> list[Tensor]:
        """One tensor like each parameter."""
        return [torch.zeros_like(p, requires_grad=False) for p in self.parameters]


def tensors(parameters: Iterable[Tensor]) -> list[Tensor]:
    """As a list. Raises ValueError if they are something else, as pairs with names."""
    given = list(parameters)
    if any(not isinstance(p, Tensor) for p in given):
        raise ValueError("parameters must be tensors, as model.parameters() gives them, without names")
    return given


def first_derivative(loss: Tensor, parameters: list[Tensor], **options: Any) -> tuple[Tensor, ...]:
    """d loss / d parameters, zeros where it does not depend on one; `options` of torch.autograd.grad."""
    if not loss.requires_grad:
        return tuple(map(torch.zeros_like, parameters))
    return torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True, **options)


def _depends(loss: Tensor, parameters: list[Tensor]) -> bool:
    if not loss.requires_grad:
        return False
    return any(each is not None for each in torch.autograd.grad(loss, parameters, allow_unused=True))


def twice_differentiable() -> contextlib.AbstractContextManager[None]:
    """For what builds a graph: torch's fused attention has no second derivative, its plain form has."""
    context: contextlib.AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
    return context


def numbers(seed: int, what: str) -> torch.Generator:
    """The random numbers of a measurement, its own: on the CPU, so that they are the same for every device."""
    return torch.Generator().manual_seed(derive_seed(seed, Purpose.FLATNESS, what))
