"""A user's formula in u, its derivatives and the coordinates, as "u_t - u_xx": for torch, and for sympy."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import UserError, did_you_mean
from .derivatives import Field

UNKNOWN = "u"
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    name: getattr(torch, name) for name in ("sin", "cos", "tan", "exp", "log", "sqrt", "sinh", "cosh", "tanh")
}
CONSTANTS = {"pi": math.pi}
_ARITHMETIC = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd, ast.Load,
    ast.Name, ast.Call,
)  # fmt: skip


class Formula:
    """An expression in u, u_t, u_xx, ..., the coordinates, numbers, pi and elementary functions; powers as u**2,
    with exponents from -20 to 20.

    Args:
        text: the formula.
        inputs: names of the coordinates, one letter each.
        key: what the text is called in messages.

    `expression` is sympy's, in real symbols of these names. Raises UserError, a ValueError, if it cannot be read.
    """

    def __init__(self, text: str, inputs: tuple[str, ...], key: str = "formula") -> None:
        import sympy

        self.text, self.inputs = text.strip(), inputs
        names = _names(self.text, inputs, key)
        self.symbols = {name: sympy.Symbol(name, real=True) for name in names}
        known = {name: getattr(sympy, name) for name in (*FUNCTIONS, *CONSTANTS)}
        self.expression: Any = sympy.sympify(self.text, locals={**known, **self.symbols})
        if self.expression.has(sympy.nan, sympy.zoo, sympy.oo):
            raise UserError(f"{key}: {text!r} divides by zero: leave that out")
        spaces: list[Any] = [{**FUNCTIONS, **CONSTANTS, "E": math.e}]
        self._function = sympy.lambdify(list(self.symbols.values()), self.expression, modules=spaces)

    @property
    def derivatives(self) -> tuple[str, ...]:
        """Of what stands in it those that are u or its derivatives, as "u_xx"."""
        return tuple(name for name in self.symbols if name not in self.inputs)

    def dims(self, name: str) -> tuple[int, ...]:
        """The coordinates' numbers that a derivative is by: of "u_tx" those of t and x."""
        return tuple(self.inputs.index(letter) for letter in name.partition("_")[2])

    def __call__(self, field: Field) -> Tensor:
        """Its values (n,) for the first output of a field."""
        return self.at(field.points, {name: field.d(0, *self.dims(name)) for name in self.derivatives})

    def at(self, points: Tensor, values: Mapping[str, Tensor] | None = None) -> Tensor:
        """Its values (n,) at points (n, coordinates), for these values (n,) of its `derivatives`."""
        values = values or {}
        given = [values[name] if name in values else points[:, self.inputs.index(name)] for name in self.symbols]
        found = self._function(*given)
        return found if isinstance(found, Tensor) else torch.full_like(points[:, 0], float(found))

    def substituted(self, solution: Any) -> Any:
        """sympy's expression with `solution`, one in the coordinates, for u."""
        import sympy

        axes = [sympy.Symbol(name, real=True) for name in self.inputs]
        put = {}
        for name in self.derivatives:
            dims = self.dims(name)
            put[self.symbols[name]] = sympy.diff(solution, *[axes[dim] for dim in dims]) if dims else solution
        return self.expression.xreplace(put)


def _names(text: str, inputs: tuple[str, ...], key: str) -> list[str]:
    """The names in a formula, each once, in alphabetical order. UserError for anything but arithmetic of known ones."""
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        raise UserError(f"{key}: {text!r} is no formula: write it as u_t - u*u_x + u_xx**2") from None
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = set()
    for node in ast.walk(tree):
        number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
        if not number and not isinstance(node, _ARITHMETIC):
            raise UserError(f"{key}: {text!r} has more than arithmetic in it: + - * / ** and {', '.join(FUNCTIONS)}")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            _check_power(node.right, text, key)
        if isinstance(node, ast.Call) and (len(node.args) != 1 or node.keywords or not isinstance(node.func, ast.Name)):
            raise UserError(f"{key}: functions in {text!r} take one argument, as sin(x)")
        if isinstance(node, ast.Name):
            if id(node) in called:
                if node.id not in FUNCTIONS:
                    known = ", ".join(FUNCTIONS)
                    raise UserError(
                        f"{key}: {node.id} in {text!r} is no function{did_you_mean(node.id, FUNCTIONS)}: "
                        f"one of {known}; a product is written u*x"
                    )
            elif node.id not in CONSTANTS:
                found.add(_known(node.id, text, inputs, key))
    return sorted(found)


def _check_power(exponent: ast.expr, text: str, key: str) -> None:
    """Small numbers alone: sympy would work out 10**10**10."""
    if isinstance(exponent, ast.UnaryOp):
        exponent = exponent.operand
    value = exponent.value if isinstance(exponent, ast.Constant) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 20:
        raise UserError(f"{key}: exponents in {text!r} must be numbers from -20 to 20, as in u_x**2")


def _known(name: str, text: str, inputs: tuple[str, ...], key: str) -> str:
    unknown, _, letters = name.partition("_")
    derivative = unknown == UNKNOWN and set(letters) <= set(inputs) and (letters or name == UNKNOWN)
    if name not in inputs and not derivative:
        example = f", as {UNKNOWN}_{inputs[0]} or {UNKNOWN}_{2 * inputs[-1]}" if inputs else ""
        raise UserError(
            f"{key}: {name} in {text!r} is neither a coordinate ({', '.join(inputs)}) nor {UNKNOWN} nor a derivative "
            f"of it{example}"
        )
    return name
