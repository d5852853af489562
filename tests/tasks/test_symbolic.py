"""Symbolic solutions: the schedule, the loss, conditions and scores."""

from __future__ import annotations

import math
from typing import Any

import pytest
import sympy
import torch
from torch import Tensor

from deeprelax.errors import UserError
from deeprelax.tasks.symbolic.conditions import Condition
from deeprelax.tasks.symbolic.readout import symbols
from tests.tasks.problems import scored
from tests.tasks.trees import planted, symbolic, tree


def test_the_choices_are_frozen_in_time_and_stay() -> None:
    task, model = symbolic(points=160, harden_after=2.0), tree()
    task.advance(model, 19)
    assert not model.hardened
    task.advance(model, 20)
    assert model.hardened
    chosen = model.operator.clone()
    with torch.no_grad():
        model.a.neg_()
    again = symbolic(points=160, harden_after=2.0)  # after a resume
    again.advance(model, 25)
    assert torch.equal(model.operator, chosen)


def test_sharpness_and_entropy_are_functions_of_the_number() -> None:
    task = symbolic(points=160, harden_after=10.0, sharpness=9.0, entropy=0.4)
    found = [task.draw(k)[1].tolist() for k in (0, 50, 100, 1000)]
    assert found[0] == [1.0, 0.0]
    assert found[1] == pytest.approx([3.0, 0.2])
    assert found[2] == found[3] == pytest.approx([9.0, 0.4])


def test_the_loss_is_the_weighted_sum_of_its_terms_by_hand() -> None:
    """u = t x for heat: r = x, -sin x at the start, 0 and pi t at the walls; no entropy at k = 0."""
    model = planted(("identity", 1.0, (1, 0), 0.0), ("identity", 1.0, (0, 1), 0.0), join=1)
    task = symbolic(condition_weight=3.0)
    points, targets, schedule = task.make(*task.draw(0))
    loss = task.loss(model, points, targets, schedule)
    t, x = points.unbind(2)
    by_hand = x[:, 0].square().mean() + 3 * (x[:, 1].sin().square().mean() + (torch.pi * t[:, 3]).square().mean())
    assert loss.item() == pytest.approx(float(by_hand), rel=1e-12)


def test_conditions_of_different_derivatives_are_told_apart() -> None:
    """wave has u_t(0, x) = 0 between those of u; u = t + x is wrong there by 1."""
    model = planted(("identity", 1.0, (1, 0), 0.0), ("identity", 1.0, (0, 1), 0.0), join=0)
    found = scored(symbolic("wave"), model)
    grid = torch.linspace(0, math.pi, 20001, dtype=torch.float64)
    start = (grid - grid.sin()).square().mean()
    walls = grid.square().mean() + (grid + math.pi).square().mean()
    assert found["residual"] == 0
    assert found["conditions"] == pytest.approx(float(1 + start + walls), rel=1e-2)


def test_batches_are_functions_of_seed_and_number_and_the_loss_is_the_mean_of_its_parts() -> None:
    whole, same, other, model = symbolic(), symbolic(), symbolic(seed=1), tree()
    first = [t.clone() for t in whole.draw(5)]
    whole.draw(6)
    assert all(torch.equal(a, b) for a, b in zip(first, same.draw(5), strict=True))
    assert not torch.equal(first[0], whole.draw(6)[0])
    assert not torch.equal(first[0], other.draw(5)[0])
    parts = [symbolic(share={"part": (i, 2)}) for i in range(2)]
    losses = [task.loss(model, *task.make(*task.draw(4))).item() for task in (whole, *parts)]
    assert losses[0] == pytest.approx(sum(losses[1:]) / 2, rel=1e-12)
    points, _, _ = whole.make(*whole.draw(0))
    assert points.shape == (16, 4, 2)
    assert bool(((points >= whole.low) & (points <= whole.high)).all())
    assert points[:, 1, 0].unique().tolist() == [0.0]
    assert points[:, 3, 1].unique().tolist() == [math.pi]


OWN: dict[str, Any] = {"residual": "u_t + u", "conditions": ["u(0) = 1"], "domain": {"t": [0, 1]}}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"residual": None}, "needs task.residual too"),
        ({"conditions": []}, "needs task.conditions too"),
        ({"domain": {}}, "needs task.domain too"),
        ({"domain": {"time": [0, 1]}}, "time is no coordinate"),
        ({"domain": {"u": [0, 1]}}, "u is no coordinate"),
        ({"domain": {"t": [1, 1]}}, "t must end above its start"),
        ({"domain": {"t": 3}}, "the ends of t must be two numbers"),
        ({"domain": {"t": [0, "one"]}}, "the ends of t must be two numbers, as .*, not one"),
        ({"residual": "t**2"}, "has no u in it"),
        ({"residual": "u_t + w"}, "w in .* is neither a coordinate"),
        ({"conditions": ["u(0)"]}, "is no condition"),
        ({"conditions": ["sin(0) = 1"]}, "is no condition"),
        ({"conditions": ["u(0, 1) = 1"]}, "gives 2 arguments for t"),
        ({"conditions": ["u(t) = 1"]}, "holds nothing constant"),
        ({"conditions": ["u(a) = 1"]}, "the argument t of .* must be t or a number, not a"),
        ({"conditions": ["u(0) = u_t"]}, "has u on the right too"),
        ({"conditions": ["u_x(0) = 1"]}, "u_x in 'u_x' is neither"),
        ({"equation": "heat"}, "task.residual is of an equation of your own, not of heat"),
    ],
)  # fmt: skip
def test_half_an_equation_is_a_sentence(changed: dict[str, Any], message: str) -> None:
    symbolic(**{"equation": "own", **OWN})
    with pytest.raises(UserError, match=message):
        symbolic(**{"equation": "own", **OWN, **changed})


def test_a_condition_is_read_with_its_constants() -> None:
    found = Condition(" u_tx(2*pi, x) = x*exp(-1) ", ("t", "x"), "key")
    assert {i: float(value) for i, value in found.fixed.items()} == {0: pytest.approx(2 * math.pi)}
    assert found.left.dims("u_tx") == (0, 1)
    t, x = symbols("tx")
    assert found.substituted(t * x**2 / 2) == x - x * sympy.exp(-1)


def exact_at(points: Tensor) -> Tensor:
    return (-points[:, 0]).exp() * points[:, 1].sin()


def test_scores_are_those_of_fixed_points() -> None:
    task, model = symbolic(), tree()
    found = scored(task, model)
    assert found == scored(symbolic(seed=3), model)
    assert found["loss"] == pytest.approx(found["residual"] + task.condition_weight * found["conditions"])
    points = task.splits()["test"].take(0)[0][:, 0]
    error = model(points, hard=True)[:, 0].detach() - exact_at(points)
    assert found["relative_l2"] == pytest.approx(float(error.norm() / exact_at(points).norm()), rel=1e-9)
    assert set(scored(symbolic("own", **OWN), tree(1))) == {"loss", "exact", "residual", "conditions"}
