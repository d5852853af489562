"""Convolutions with a second derivative of our own have torch's values and derivatives."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from deeprelax.flatness.convolution import DIMENSIONS, Convolutions


def derivatives(convolved: Callable[[], Tensor], inputs: list[Tensor], along: list[Tensor]) -> list[Tensor]:
    """Of the sum of sines of the output: its value, the first derivatives, the second and the third along vectors."""
    found = convolved().sin().sum()
    first = torch.autograd.grad(found, inputs, create_graph=True)
    second = torch.autograd.grad(first, inputs, along, create_graph=True)
    return [found, *first, *second, *torch.autograd.grad(second, inputs, along)]


@pytest.mark.parametrize("convolve", DIMENSIONS)
@pytest.mark.parametrize("padding", [0, 1, "same"])
@pytest.mark.parametrize("constant", [False, True])
def test_first_to_third_derivatives(convolve: Any, padding: Any, constant: bool) -> None:
    """constant: the input, as data are, for which nothing is computed then."""
    n, generator = DIMENSIONS[convolve], torch.Generator().manual_seed(0)

    def drawn(*shape: int, slope: bool = True) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_(slope)

    for stride, dilation, groups, biased in itertools.product((1, [2] * n), (1, 2), (1, 2), (False, True)):
        if padding == "same" and stride != 1:  # which torch refuses
            continue
        x, w = drawn(3, 4, *[7] * n, slope=not constant), drawn(6, 4 // groups, *[3] * n)
        b = drawn(6) if biased else None
        inputs = [each for each in (x, w, b) if each is not None and each.requires_grad]
        along = [torch.randn(each.shape, generator=generator, dtype=torch.float64) for each in inputs]

        def convolved(x=x, w=w, b=b, stride=stride, dilation=dilation, groups=groups) -> Tensor:  # type: ignore[no-untyped-def]
            found: Tensor = convolve(x, w, b, stride, padding, dilation, groups)
            return found

        expected = derivatives(convolved, inputs, along)
        with Convolutions():
            found = derivatives(convolved, inputs, along)
            assert ("_Convolution" in str(convolved().grad_fn)) == (padding != "same")
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-11)


def test_transforms_of_torch_func_within() -> None:
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(*size, generator=generator, dtype=torch.float64) for size in ((2, 1, 5), (2, 1, 3)))

    def loss(w: Tensor) -> Tensor:
        return torch.conv1d(x, w.view(2, 1, 3)).sin().sum()

    expected = torch.func.jacrev(torch.func.jacrev(loss))(w.flatten())
    with Convolutions():
        found = torch.func.jacrev(torch.func.jacrev(loss))(w.flatten())
        rows = torch.func.vmap(torch.func.grad(loss))(torch.stack([w.flatten(), 2 * w.flatten()]))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(rows[0], torch.func.grad(loss)(w.flatten()))
