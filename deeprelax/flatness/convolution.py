"""Convolutions with a faster second derivative than torch's.

torch's own second derivative takes the part in the weights from a convolution whose batch and channels are exchanged,
which took more than a third of a product with the Hessian of LeNet; `convolution_backward` gives the same sum faster.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

DIMENSIONS = {torch.conv1d: 1, torch.conv2d: 2, torch.conv3d: 3}
Slope = Tensor | None


class Convolutions(TorchFunctionMode):
    """Within the `with`, torch's convolutions have this second derivative; values and first derivatives are torch's."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        n, kwargs = DIMENSIONS.get(func), kwargs or {}
        return func(*args, **kwargs) if n is None else _convolution(func, n, *args, **kwargs)


def _convolution(
    func: Any, n: int, input: Tensor, weight: Tensor, bias: Slope = None,  # noqa: A002 -- the names are torch's
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    if isinstance(padding, str) or input.ndim != n + 2:  # padding may be more on one side; there is no batch
        return func(input, weight, bias, stride, padding, dilation, groups)
    sizes = [[each] * n if isinstance(each, int) else list(each) for each in (stride, padding, dilation)]
    sizes = [each * n if len(each) == 1 else each for each in sizes]
    return _Convolution.apply(input, weight, bias, (*sizes, False, [0] * n, groups))


class _Convolution(Function):
    """y = w * x + b."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, w: Tensor, b: Slope, how: tuple[Any, ...]) -> Any:
        return torch.ops.aten.convolution(x, w, b, *how)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, w, _, ctx.how = inputs
        ctx.save_for_backward(x, w)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Slope, Slope, Slope, None]:
        x, w = ctx.saved_tensors
        return *_Slopes.apply(g, x, w, ctx.how, ctx.needs_input_grad[:3]), None


class _Slopes(Function):
    """g -> g . dy/dx, g . dy/dw, g . dy/db, those that are needed.

    Along a, b, c they add up to <g, w * a + b * x + c>, whose derivatives in g, x and w are taken here.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        g: Tensor, x: Tensor, w: Tensor, how: tuple[Any, ...], needed: tuple[bool, bool, bool]
    ) -> tuple[Slope, Slope, Slope]:
        return _slopes(g, x, w, how, needed)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Slope, Slope, Slope]) -> None:
        g, x, w, ctx.how, _ = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(g, x, w)

    @staticmethod
    def backward(ctx: Any, a: Slope, b: Slope, c: Slope) -> tuple[Slope, Slope, Slope, None, None]:
        (g, x, w), how = ctx.saved_tensors, ctx.how
        of_g, of_x, of_w = ctx.needs_input_grad[:3]
        parts = [torch.ops.aten.convolution(a, w, None, *how)] if of_g and a is not None else []
        if of_g and b is not None:
            parts.append(torch.ops.aten.convolution(x, b, None, *how))
        if of_g and c is not None:
            parts.append(c.view(-1, *[1] * (g.ndim - 2)).expand_as(g))
        return (
            sum(parts[1:], parts[0]) if parts else None,
            _slopes(g, x, b, how, (True, False, False))[0] if of_x and b is not None else None,
            _slopes(g, a, w, how, (False, True, False))[1] if of_w and a is not None else None,
            None, None,
        )  # fmt: skip


def _slopes(
    g: Tensor, x: Tensor, w: Tensor, how: tuple[Any, ...], needed: tuple[bool, bool, bool]
) -> tuple[Slope, Slope, Slope]:
    found: tuple[Slope, Slope, Slope] = torch.ops.aten.convolution_backward(g, x, w, [w.shape[0]], *how, needed)
    return tuple(each if one else None for each, one in zip(found, needed, strict=True))  # type: ignore[return-value]
