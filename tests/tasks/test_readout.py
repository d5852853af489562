"""The expression tree, its read-out with sympy, rounding, and the proof."""

from __future__ import annotations

import math
from typing import Any

import pytest
import sympy
import torch

from deeprelax.models import ExpressionTree
from deeprelax.models.expression_tree import FUNCTIONS
from deeprelax.models.hyperparameters import OPERATORS
from deeprelax.tasks.equations.formulas import Formula
from deeprelax.tasks.symbolic.problems import PROBLEMS
from deeprelax.tasks.symbolic.readout import _FUNCTIONS as OF_SYMPY
from deeprelax.tasks.symbolic.readout import formula, nice, rounded, solves, symbols
from tests.tasks.problems import scored
from tests.tasks.trees import Leaf, planted, solution, symbolic, tree


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
