"""A function of points with its partial derivatives, by nested reverse mode or nested forward mode."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.func import jvp

Function = Callable[[Tensor], Tensor]
Prefixes = Callable[[Tensor], tuple[Tensor, ...]]

with warnings.catch_warnings():  # torch's first jvp warns of torch's own code, and inside torch.compile it is too late
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    jvp(torch.sin, (torch.zeros(1),), (torch.ones(1),))


class Field:
    """u = function(points) and its derivatives, each row taken as a function of its own point alone.

    So the function may not mix its rows, as batch normalisation in training would.

    Reverse mode: one backward pass of all first derivatives of an output, kept; one more for those of each derivative
    that is differentiated again. u, u_t, u_x, u_xx of one output are a forward pass and two backward passes. Results
    can be differentiated by the function's parameters, unless they are asked for under no_grad or inference_mode: there
    they are computed all the same and come detached.

    Forward mode: one Jacobian-vector product a derivative, nested, and kept with those on its way (u and u_x on that to
    u_xx), so ask for the highest first. torch.compile can take it, as it cannot the other.

    Derivatives of what does not depend on the points are zeros.

    Args:
        function: (n, d) to (n, m).
        points: (n, d), floating point; they receive no gradient.
        forward: forward mode.
    """

    def __init__(self, function: Function, points: Tensor, forward: bool = False) -> None:
        self.points = points
        self._function = function
        self._forward = forward
        self._values: dict[tuple[int, ...], Tensor] = {}  # forward mode: dims to (n, m)
        self._gradients: dict[tuple[int, tuple[int, ...]], Tensor] = {}  # reverse: (output, dims) to (n, d)
        if not forward:
            with _recording():  # a clone, for inference_mode's own tensors can be no leaves
                self._leaf = points.detach().clone().requires_grad_()
                self._u = function(self._leaf)

    @property
    def u(self) -> Tensor:
        """function(points), (n, m)."""
        return self._forward_value(()) if self._forward else _as_asked(self._u)

    def d(self, output: int, *dims: int) -> Tensor:
        """The partial derivative of an output by these coordinates, (n,): d(0, 1, 1) is u_xx where x is number 1.

        Args:
            output: from 0 to m - 1.
            dims: each from 0 to d - 1, in any order; none for the output itself.

        Raises IndexError for an output or a coordinate that is not there.
        """
        outside = [dim for dim in dims if not 0 <= dim < self.points.shape[1]]
        if outside:
            raise IndexError(f"points have the coordinates 0 to {self.points.shape[1] - 1}, not {outside[0]}")
        order = tuple(sorted(dims))
        if self._forward:
            return self._forward_value(order)[:, output]
        with _recording():
            value = self._by_reverse(output, order)
        return _as_asked(value)

    def _by_reverse(self, output: int, dims: tuple[int, ...]) -> Tensor:
        if not dims:
            return self._u[:, output]
        ways = [(dims[:i] + dims[i + 1 :], dim) for i, dim in enumerate(dims)]  # u_tx of u_t's gradient or of u_x's
        rest, last = next((way for way in ways if (output, way[0]) in self._gradients), ways[-1])
        if (output, rest) not in self._gradients:
            self._gradients[output, rest] = self._gradient(self._by_reverse(output, rest))
        return self._gradients[output, rest][:, last]

    def _gradient(self, value: Tensor) -> Tensor:
        if not value.requires_grad:  # a constant has no graph to go back through
            return torch.zeros_like(self._leaf)
        (gradient,) = torch.autograd.grad(
            value.sum(), self._leaf, create_graph=True, allow_unused=True, materialize_grads=True
        )
        return gradient

    def _forward_value(self, dims: tuple[int, ...]) -> Tensor:
        if dims not in self._values:
            function: Prefixes = lambda x: (self._function(x),)  # noqa: E731
            for dim in dims:
                function = _with_derivative(function, dim)
            for order, value in enumerate(function(self.points)):
                self._values.setdefault(dims[:order], value)
        return self._values[dims]


def _with_derivative(function: Prefixes, dim: int) -> Prefixes:
    """(u, u_a, ..., u_ab) as a function of the points with the derivative of the last by x_dim at the end."""

    def both(x: Tensor) -> tuple[Tensor, ...]:
        direction = torch.zeros_like(x)
        direction[:, dim] = 1
        found = jvp(function, (x,), (direction,))  # the values, and their derivatives
        return (*found[0], found[1][-1])

    return both


@contextmanager
def _recording() -> Iterator[None]:
    """With a graph, even where the caller wants none: derivatives need it."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def _as_asked(value: Tensor) -> Tensor:
    return value if torch.is_grad_enabled() else value.detach()
