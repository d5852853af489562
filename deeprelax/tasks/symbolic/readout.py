"""A hardened tree as sympy's expression, that with its constants rounded, and whether it solves the equation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sympy

from ...models import ExpressionTree
from ..equations.formulas import Formula
from .conditions import Condition

TOLERANCES = (1e-5, 1e-3, 1e-2)  # relative: the first at which a number is near a nice one decides
TINY = 1e-2  # absolute for rates inside an operator, relative to the largest coefficient for those of a sum's terms
EXACT = 1e-8  # what a numeric residual must be under before it is simplified
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda z: z,
    "square": lambda z: z**2,
    "sin": sympy.sin,
    "exp": sympy.exp,
    "tanh": sympy.tanh,
    "one": lambda z: sympy.Integer(1),
}


def symbols(inputs: Sequence[str]) -> list[Any]:
    """sympy's symbols of the coordinates."""
    return [sympy.Symbol(name, real=True) for name in inputs]


def formula(tree: ExpressionTree, inputs: Sequence[str]) -> Any:
    """The tree's expression with its likeliest options, and its constants as they are."""
    return _read(tree, inputs, _as_it_is)


def rounded(tree: ExpressionTree, inputs: Sequence[str]) -> Any:
    """The same with its constants rounded: 0.858*exp(0.153 - t)*sin(x + 3e-6) is exp(-t)*sin(x).

    Rates of the coordinates inside an operator are rounded first. sin and exp of a sum are then products, so that the
    expression is a sum of terms whose coefficients hold all other constants; they are rounded at last, after those
    under TINY of the largest are dropped.
    """
    whole = _read(tree, inputs, _split).expand()
    terms = [term.as_coeff_Mul() for term in sympy.Add.make_args(whole)]
    gathered: dict[Any, float] = {}
    for coefficient, term in terms:
        factors = [f for f in sympy.Mul.make_args(term) if f.is_number]  # such as pi of a rounded rate
        number = float(coefficient * sympy.Mul(*factors))
        rest = sympy.Mul(*[f for f in sympy.Mul.make_args(term) if not f.is_number])
        gathered[rest] = gathered.get(rest, 0.0) + number
    least = TINY * max((abs(number) for number in gathered.values()), default=0.0)
    return sympy.Add(*[nice(number) * term for term, number in gathered.items() if abs(number) > least])


def nice(number: float) -> Any:
    """The nearest simple number: a fraction p/q with q to 12, or with q to 4 times pi or 1/pi or their squares.

    The tightest of TOLERANCES at which there is one decides, and of those within it the simplest; else the number.
    """
    for tolerance in TOLERANCES:
        for power, most in ((0, 12), (1, 4), (-1, 4), (2, 4), (-2, 4)):
            part = number / math.pi**power
            for q in range(1, most + 1):
                p = round(part * q)
                if p and abs(p) <= 1000 and abs(part * q - p) <= tolerance * abs(part * q):
                    return sympy.Rational(p, q) * sympy.pi**power
    return sympy.Float(number)


def solves(
    solution: Any, residual: Formula, conditions: Sequence[Condition], ends: Sequence[tuple[float, float]]
) -> bool:
    """Does sympy reduce the residual of a solution and the error of every condition to 0?

    They are computed at a few points of the domain first, which sorts out nearly all that do not.
    """
    errors = [residual.substituted(solution), *(each.substituted(solution) for each in conditions)]
    points = [low + (high - low) * np.array([0.137, 0.311, 0.523, 0.741, 0.892]) for low, high in ends]
    points = [np.roll(each, i) for i, each in enumerate(points)]
    for error in errors:
        with np.errstate(all="ignore"):
            values = sympy.lambdify(symbols(residual.inputs), error, "numpy")(*points)
        if not np.all(np.abs(np.asarray(values, dtype=complex)) < EXACT):
            return False
    return all(sympy.simplify(sympy.nsimplify(error, rational=True)) == 0 for error in errors)


def _read(tree: ExpressionTree, inputs: Sequence[str], leaf: Callable[[str, Any, list[float], float], Any]) -> Any:
    operators, joins = (p.argmax(1).tolist() for p in tree.weights(hard=True))
    axes = symbols(inputs)
    level = [
        c * leaf(tree.operators[operator], axes, w, b)
        for operator, c, w, b in zip(operators, tree.c.tolist(), tree.w.tolist(), tree.b.tolist(), strict=True)
    ]
    nodes = iter(joins)
    while len(level) > 1:
        level = [
            left * right if next(nodes) else left + right for left, right in zip(level[::2], level[1::2], strict=True)
        ]
    return level[0]


def _as_it_is(operator: str, axes: list[Any], w: list[float], b: float) -> Any:
    return _FUNCTIONS[operator](sympy.Add(*[each * x for each, x in zip(w, axes, strict=True)], b))


def _split(operator: str, axes: list[Any], w: list[float], b: float) -> Any:
    """op(w x + b) with rounded w; b is rounded too where no product of functions of x can have it as a coefficient."""
    rates = w if operator in ("identity", "square") else [0 if abs(rate) < TINY else nice(rate) for rate in w]
    parts = [rate * x for rate, x in zip(rates, axes, strict=True)]
    if operator == "exp":
        return math.exp(b) * sympy.exp(sympy.Add(*parts))
    if operator == "sin":
        sine, cosine = math.sin(b), math.cos(b)
        for part in parts:
            s, c = sympy.sin(part), sympy.cos(part)
            sine, cosine = sine * c + cosine * s, cosine * c - sine * s
        return sine
    if operator == "tanh":
        parts.append(0 if abs(b) < TINY else nice(b))
        return sympy.tanh(sympy.Add(*parts))
    return _FUNCTIONS[operator](sympy.Add(*parts, b))


def printed(tree: ExpressionTree, inputs: Sequence[str], *, exact: bool) -> dict[str, str]:
    """The formula that was found, rounded if that is exact, else with 4 digits; in LaTeX; and unrounded."""
    whole = formula(tree, inputs)
    if exact:
        proven = rounded(tree, inputs)
        found = min(proven, sympy.simplify(proven), key=sympy.count_ops)  # 2 sin(t/2) cos(t/2) is sin(t)
    else:
        found = whole.xreplace({n: sympy.Float(n, 4) for n in whole.atoms(sympy.Float)})
    return {"formula": str(found), "latex": sympy.latex(found), "formula_unrounded": str(whole)}
