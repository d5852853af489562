"""Random numbers of the optimizers: a function of seed, step and chain, apart from those of training."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from deeprelax.optim import EntropySGD, HamiltonJacobi, Heat
from deeprelax.randomness import Purpose, derive_seed
from tests.optimizers import NOISY, OPTIMIZERS

from .problems import descend


@pytest.mark.parametrize("name", NOISY)
def test_noise_is_a_function_of_seed_step_and_chain_alone(name: str) -> None:
    def run(chain: int = 0, disturb: bool = False, **keywords: object) -> Tensor:
        p = nn.Parameter(torch.ones(40, dtype=torch.float64))
        optimizer = OPTIMIZERS[name].build([p], **keywords)
        optimizer.chain = chain
        for _ in range(2):
            if disturb:
                torch.randn(3)
            descend(optimizer, lambda: p.square().sum())
        assert "chain" not in str(optimizer.state_dict())
        return p.detach()

    base = run(seed=3)
    assert torch.equal(base, run(seed=3, disturb=True))
    assert not torch.equal(base, run(seed=4))
    # replicas have their numbers for chains, whatever the rank
    assert torch.equal(base, run(seed=3, chain=1)) == ("replicas" in OPTIMIZERS[name].keywords)


def test_noise_is_apart_from_what_training_draws() -> None:
    """Neither dropout nor the order of the images nor the initial weights repeat the optimizer's numbers."""
    p = nn.Parameter(torch.zeros(50))
    optimizer = EntropySGD([p])
    optimizer.noise().fill(optimizer.buffers("z"))
    (ours,) = optimizer.scratch("z", [p])
    for purpose in Purpose:
        for counters in ((), (0,), (0, 0)):
            generator = torch.Generator().manual_seed(derive_seed(0, purpose, *counters))
            assert not torch.equal(ours, torch.randn(50, generator=generator))


def test_noise_differs_between_steps_and_between_inner_steps() -> None:
    p = nn.Parameter(torch.zeros(1000, dtype=torch.float64))
    optimizer = EntropySGD(
        [p], lr=1.0, gamma=math.inf, inner_steps=2, inner_lr=0.5, temperature=1.0, averaging=0.0, inner_momentum=0.0
    )
    moves = []
    for _ in range(2):
        with torch.no_grad():
            p.zero_()
        descend(optimizer, lambda: 0.0 * p.sum())
        moves.append(p.detach().clone())
    assert abs(torch.corrcoef(torch.stack(moves))[0, 1]) < 5 / math.sqrt(1000)
    # two independent draws of variance 2 h T = 1 add up to 2; the same draw twice would give 4
    assert abs(moves[0].var().item() / 2 - 1) < 5 * math.sqrt(2 / 1000)


def test_no_random_numbers_are_drawn_at_temperature_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeprelax.optim.relaxation.Noise", None)
    for make, keywords in [(EntropySGD, {"temperature": 0.0}), (Heat, {"sigma": 0.0}), (HamiltonJacobi, {})]:
        p = nn.Parameter(torch.ones(2))
        descend(make([p], **keywords), lambda p=p: p.square().sum())
