"""torch.compile(optimizer.step): compiled equals eager, from the first step on."""

from __future__ import annotations

import pytest
import torch

from tests.optimizers import OPTIMIZERS

from .test_reference import Batches, network

STEPS = 12  # more than the eight times that torch compiles one function anew
# torch.compile warns of what it does not trace, as the closure's generators
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def compare(name: str, dtype: torch.dtype) -> None:
    ends = []
    for compiled in (False, True):
        torch.compiler.reset()
        torch._dynamo.config.fail_on_recompile_limit_hit = True
        net = network(dtype)
        optimizer, batches = OPTIMIZERS[name].build(net.parameters()), Batches(net)
        step = torch.compile(optimizer.step) if compiled else optimizer.step
        for _ in range(STEPS):
            step(batches)
        ends.append([p.detach().double() for p in net.parameters()])
    assert not all(
        torch.equal(p, q) for p, q in zip(ends[0], map(torch.Tensor.double, network(dtype).parameters()), strict=True)
    )
    difference = max((p - q).abs().max().item() for p, q in zip(*ends, strict=True))
    assert difference <= {torch.float64: 1e-12, torch.float32: 1e-6}[dtype]


def test_compiled_equals_eager_from_the_first_step_with_noise() -> None:
    compare("entropy_sgd", torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_compiled(name: str, dtype: torch.dtype) -> None:
    compare(name, dtype)
