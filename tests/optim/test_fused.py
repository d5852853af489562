"""The rules as they are on a GPU, `deeprelax.optim.fused`, on CPU tensors: torch has these kernels there, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeprelax.optim import SGD, AdamW, EntropySGD, Relaxation, ScheduleFree, scratch
from deeprelax.optim import entropy_sgd as chain
from deeprelax.optim import finite as finiteness


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (scratch, chain, finiteness):
        monkeypatch.setattr(module, "host_knows", lambda tensor: False)


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4, 2, 2), (7,), (5, 3)]
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def trained(build: Callable[[list[nn.Parameter]], Any], steps: int = 6, bad: int | None = None) -> list[Tensor]:
    """The parameters after some steps on the same gradients; the loss of step `bad` is NaN."""
    params, generator = parameters(), torch.Generator().manual_seed(1)
    optimizer = build(params)
    for k in range(steps):

        def closure(k: int = k) -> Tensor:
            for p in params:
                p.grad = torch.randn(p.shape, generator=generator)
            return torch.tensor(float("nan") if k == bad else 1.0)

        optimizer.step(closure)
    return [*params, *(t for state in optimizer.state.values() for _, t in sorted(state.items()))]


RULES = {
    "sgd": (lambda p: SGD(p, 0.1), lambda p: torch.optim.SGD(p, 0.1, 0.9, nesterov=True, fused=True)),
    "plain": (lambda p: SGD(p, 0.1, 0.0), lambda p: torch.optim.SGD(p, 0.1, fused=True)),
    "heavy ball": (lambda p: SGD(p, 0.1, nesterov=False), lambda p: torch.optim.SGD(p, 0.1, 0.9, fused=True)),
    # its rate is a tensor there: as a number it is rounded later
    "adamw": (
        lambda p: AdamW(p, 0.01, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, torch.tensor(0.01), weight_decay=0.1, fused=True),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_both_rules_are_torchs_fused_ones_bit_for_bit(name: str, as_on_a_gpu: None) -> None:
    ours, theirs = map(trained, RULES[name])
    assert all(torch.equal(a, b.reshape(a.shape)) for a, b in zip(ours, theirs, strict=True))


def chained(params: list[nn.Parameter]) -> Relaxation:
    return EntropySGD(params, outer="adamw", inner="adamw", inner_steps=3, lr=0.01)


BOTH = {name: build for name, (build, _) in RULES.items()} | {
    "chain": chained,
    "mean": lambda p: ScheduleFree(p, 0.1),
    "mean, adamw": lambda p: ScheduleFree(p, 0.01, outer="adamw", decoupled_weight_decay=0.1),
}


@pytest.mark.parametrize("name", BOTH)
def test_they_are_the_rules_of_a_cpu_to_rounding(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = trained(BOTH[name])
    for module in (scratch, chain, finiteness):
        monkeypatch.setattr(module, "host_knows", lambda tensor: False)
    for a, b in zip(plain, trained(BOTH[name]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_chain_counts_its_steps_once_for_each_data_type(as_on_a_gpu: None) -> None:
    params = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2, dtype=torch.float64))]
    optimizer = EntropySGD(params, inner="adamw", inner_state="reset", inner_steps=4)

    def closure() -> Tensor:
        for p in params:
            p.grad = torch.ones_like(p)
        return torch.tensor(1.0)

    optimizer.step(closure)
    assert [count.item() for count in optimizer.workspace._counters.values()] == [4.0, 4.0]


def test_counts_go_with_a_network_that_leaves_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    params = parameters()
    optimizer = SGD(params, 0.1)

    def closure() -> Tensor:
        for p in params:
            p.grad = torch.full_like(p, torch.inf)
        return torch.tensor(1.0)

    for knows in (False, True, False):
        for module in (scratch, chain, finiteness):
            monkeypatch.setattr(module, "host_knows", lambda tensor, knows=knows: knows)
        optimizer.step(closure)
    assert optimizer.nonfinite_steps() == (3, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_compiler_leaves_the_kernels_out(name: str, as_on_a_gpu: None) -> None:
    def compiled(params: list[nn.Parameter]) -> Any:
        optimizer = RULES[name][0](params)
        optimizer.step = torch.compile(optimizer.step, backend="aot_eager")
        return optimizer

    for a, b in zip(trained(RULES[name][0]), trained(compiled), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", BOTH)
def test_a_step_that_is_not_finite_changes_nothing(name: str, as_on_a_gpu: None) -> None:
    optimizers: list[Relaxation] = []

    def build(params: list[nn.Parameter]) -> Relaxation:
        optimizers.append(BOTH[name](params))
        return optimizers[-1]

    before, after = trained(build, steps=4), trained(build, steps=5, bad=4)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert optimizers[1].nonfinite_steps() == (1, 4)
    assert optimizers[1].nonfinite_steps() == (0, 0)
