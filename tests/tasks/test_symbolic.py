"""Symbolic solutions: the tree, its read-out, the proof, and the loss."""

from __future__ import annotations

import math
from typing import Any

import pytest
import sympy
import torch
from torch import Tensor

from deeprelax.errors import UserError
from deeprelax.models import ExpressionTree
from deeprelax.models.expression_tree import FUNCTIONS
from deeprelax.models.hyperparameters import OPERATORS
from deeprelax.tasks import Setting
from deeprelax.tasks.equations.formulas import Formula
from deeprelax.tasks.symbolic import Symbolic
from deeprelax.tasks.symbolic.conditions import Condition
from deeprelax.tasks.symbolic.problems import PROBLEMS
from deeprelax.tasks.symbolic.readout import _FUNCTIONS as OF_SYMPY
from deeprelax.tasks.symbolic.readout import formula, nice, rounded, solves, symbols
from tests.tasks.problems import CPU, scored


def symbolic(equation: str = "heat", seed: int = 0, share: dict[str, Any] | None = None, **options: Any) -> Symbolic:
    return Symbolic(Setting(CPU, seed, 16, dtype=torch.float64, **(share or {})), equation=equation, **options)


def tree(inputs: int = 2, depth: int = 1, seed: int = 0, operators: tuple[str, ...] = OPERATORS) -> ExpressionTree:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ExpressionTree(inputs, 1, depth=depth, operators=operators).double()


# operator, c, w, b of the leaves, and 1 for * of the node
Leaf = tuple[str, float, tuple[float, ...], float]
SOLUTIONS: dict[str, tuple[Leaf, Leaf, int]] = {
    "heat": (("exp", 1.0, (-1, 0), 0.0), ("sin", 1.0, (0, 1), 0.0), 1),
    "wave": (("sin", 1.0, (1, 0), math.pi / 2), ("sin", 1.0, (0, 1), 0.0), 1),
    "poisson": (("sin", 1.0, (1, 0), 0.0), ("sin", 1.0, (0, 1), 0.0), 1),
    "growth": (("exp", 1.0, (1,), 0.0), ("one", 1.0, (0,), 0.0), 1),
    "logistic": (("tanh", 0.5, (0.5,), 0.0), ("one", 0.5, (0,), 0.0), 0),
}


def planted(*leaves: Leaf, join: int) -> ExpressionTree:
    """The hardened tree of two leaves."""
    model = tree(len(leaves[0][2]))
    with torch.no_grad():
        for i, (operator, c, w, b) in enumerate(leaves):
            model.operator[i] = OPERATORS.index(operator)
            model.c[i], model.w[i], model.b[i] = c, torch.tensor(w), b
        model.join.fill_(join)
    return model


def solution(name: str) -> ExpressionTree:
    *leaves, join = SOLUTIONS[name]
    return planted(*leaves, join=join)  # type: ignore[arg-type]


def test_the_tree_is_its_formula_by_hand() -> None:
    """Two leaves of identity and sin with weights p, and a node with weight m of *."""
    model = tree(operators=("identity", "sin"))
    x, s = torch.rand(5, 2, dtype=torch.float64), 1.7
    z = x @ model.w.T + model.b
    p, m = torch.softmax(s * model.a, 1), torch.softmax(s * model.q, 1)[0]
    left, right = (model.c[i] * (p[i, 0] * z[:, i] + p[i, 1] * z[:, i].sin()) for i in range(2))
    torch.testing.assert_close(model(x, s)[:, 0], m[0] * (left + right) + m[1] * left * right, rtol=1e-12, atol=0)
    assert model.entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]])).item() == pytest.approx(0.5)


def test_both_tables_of_operators_are_the_same() -> None:
    assert tuple(FUNCTIONS) == tuple(OF_SYMPY) == OPERATORS
    z = torch.tensor([-1.3, 0.2, 2.0], dtype=torch.float64)
    for name, function in FUNCTIONS.items():
        expected = [float(OF_SYMPY[name](value)) for value in z.tolist()]
        assert function(z).tolist() == pytest.approx(expected, rel=1e-12)
    assert FUNCTIONS["exp"](torch.tensor(1e9)).item() == pytest.approx(math.exp(10))


def test_hardening_keeps_the_likeliest_and_what_was_chosen_before() -> None:
    model = tree(depth=2)
    x = torch.rand(5, 2, dtype=torch.float64)
    before, certain = model(x), model(x, hard=True)
    assert not torch.allclose(before, certain)
    model.operator[0] = other = (int(model.a[0].argmax()) + 1) % len(OPERATORS)
    assert not model.hardened
    model.harden()
    assert model.hardened
    assert model.operator.tolist() == [other, *model.a[1:].argmax(1).tolist()]
    assert model.join.tolist() == model.q.argmax(1).tolist()
    torch.testing.assert_close(model(x, 3.0), model(x, hard=True), rtol=1e-14, atol=0)
    model.operator.fill_(-1)
    model.harden()
    torch.testing.assert_close(model(x), certain, rtol=1e-14, atol=0)
    model(x).sum().backward()
    assert model.a.grad is not None
    assert model.q.grad is not None
    assert not model.a.grad.any()
    assert not model.q.grad.any()
    assert model.entropy(*model.weights()).item() == 0


@pytest.mark.parametrize(
    "options", [{"outputs": 2}, {"depth": 7}, {"operators": ("sin", "sin")}, {"operators": ("log",)}]
)
def test_a_tree_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ExpressionTree(**{"inputs": 2, "outputs": 1, **options})


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_read_out_is_the_network(depth: int) -> None:
    x = 2 * torch.rand(1000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
    for seed in range(5):
        model = tree(depth=depth, seed=seed)
        model.harden()
        function = sympy.lambdify(symbols("tx"), formula(model, "tx"), "numpy")
        found = torch.as_tensor(function(*x.T.numpy()), dtype=torch.float64).expand(1000)
        torch.testing.assert_close(found, model(x)[:, 0].detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_planted_solution_has_no_loss_and_no_gradient_and_is_exact(name: str) -> None:
    task, model = symbolic(name), solution(name)
    for k in (0, 10**6):  # whatever the sharpness and the entropy's weight
        loss = task.loss(model, *task.make(*task.draw(k)))
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        assert loss.item() < 1e-12
        assert all(float(g.abs().max()) < 1e-12 for g in gradients)
    found = scored(task, model)
    assert found["exact"] == 1
    assert found["relative_l2"] < 1e-12
    problem = PROBLEMS[name]
    assert problem.solution is not None
    expected = Formula(problem.solution, tuple(problem.domain)).expression
    assert sympy.simplify(rounded(model, tuple(problem.domain)) - expected) == 0


@pytest.mark.parametrize(
    ("leaves", "join", "expected"),
    [
        ((("exp", 0.858, (-1.0, 2e-6), 0.1531512), ("sin", 1.0, (1e-6, 1.0), 3e-6)), 1, "exp(-t)*sin(x)"),
        ((("sin", 1.001, (0.002, 0.998), 1.5708), ("one", 1.0, (3.0, 2.0), 1.0)), 1, "cos(x)"),
        ((("sin", 0.5, (1.0, 1.0), 0.0), ("sin", 0.5, (-1.0, 1.0), 0.0)), 0, "sin(x)*cos(t)"),
        ((("sin", 0.75, (0.0, 3.1416), math.pi), ("one", 0.0001, (0.0, 0.0), 0.0)), 0, "-3*sin(pi*x)/4"),
        ((("square", 1.0, (1.0, 0.0), 0.5), ("identity", 1.0, (-1.0, 2.0), -0.25)), 0, "t**2 + 2*x"),
        ((("tanh", 0.5, (0.4999, 0.0), 1e-4), ("one", 0.50003, (0.0, 0.0), 0.0)), 0, "tanh(t/2)/2 + 1/2"),
    ],
)
def test_constants_are_rounded_across_factors(leaves: tuple[Leaf, Leaf], join: int, expected: str) -> None:
    found = rounded(planted(*leaves, join=join), ("t", "x"))
    assert sympy.simplify(found - Formula(expected, ("t", "x")).expression) == 0, found


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0.3334, "1/3"), (-1.9999999, "-2"), (3.14159265, "pi"), (0.1013212, "pi**(-2)"), (0.78539816, "pi/4"),
        (22 / 7, "22/7"), (0.0712, "0.0712"), (0.008, "0.008"),
    ],
)  # fmt: skip
def test_nice_numbers(number: float, expected: str) -> None:
    assert abs(nice(number) - sympy.sympify(expected)) < 1e-12


@pytest.mark.parametrize(
    "text", ["0", "sin(x)", "2*exp(-t)*sin(x)", "exp(-t)*sin(x) + exp(-4*t)*sin(2*x)", "exp(-t)*cos(x)"]
)
def test_what_is_no_solution_is_not_exact(text: str) -> None:
    """Nearly all of these solve the equation or the conditions, not both."""
    task = symbolic()
    assert not solves(Formula(text, ("t", "x")).expression, task.residual, task.conditions, task.ends)


def test_only_a_hardened_tree_is_exact() -> None:
    task, model = symbolic(), solution("heat")
    with torch.no_grad():
        model.a.copy_(20 * torch.eye(len(OPERATORS))[model.operator])
        model.q.copy_(torch.tensor([[0.0, 20.0]]))
    model.operator.fill_(-1)
    soft = scored(task, model)
    assert soft["exact"] == 0
    assert soft["residual"] < 1e-20
    task.advance(model, math.ceil(task.harden_at))
    assert scored(task, model)["exact"] == 1


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
