"""A condition as text, "u_t(0, x) = 0", and the numbers that may stand in it, for torch and for sympy."""

from __future__ import annotations

import math
import re
from typing import Any

from ...errors import UserError
from ..equations.formulas import UNKNOWN, Formula

_FORM = re.compile(rf"\s*({UNKNOWN}(?:_[a-z]+)?)\s*\((.*)\)\s*")
EXAMPLE = "write it as u(0, x) = sin(x)"


class Condition:
    """u or a derivative of it where some coordinates are constant, and what it is to be there.

    Args:
        text: the unknown with one argument for each coordinate, its own name (all values of the domain) or a constant
            such as 0, 1.5 or pi; "="; a formula in the coordinates.
        inputs: names of the coordinates.
        key: what the text is called in messages.

    `left` and `right` are formulas; `fixed` maps the numbers of the constant coordinates to sympy's
    constants.
    Raises UserError if it cannot be read.
    """

    def __init__(self, text: str, inputs: tuple[str, ...], key: str) -> None:
        left, equals, right = str(text).partition("=")
        form = _FORM.fullmatch(left)
        if not equals or form is None:
            raise UserError(f"{key}: {text!r} is no condition: {EXAMPLE}")
        name, arguments = form[1], form[2].split(",")
        if len(arguments) != len(inputs):
            raise UserError(f"{key}: {text!r} gives {len(arguments)} arguments for {', '.join(inputs)}: {EXAMPLE}")
        self.text = str(text).strip()
        self.fixed: dict[int, Any] = {}
        for i, (own, argument) in enumerate(zip(inputs, arguments, strict=True)):
            if argument.strip() != own:
                self.fixed[i] = constant(argument, f"{key}: the argument {own} of {text!r} must be {own} or a number")
        if not self.fixed:
            raise UserError(
                f"{key}: {text!r} holds nothing constant: that is task.residual, {name} - ({right.strip()})"
            )
        self.left, self.right = Formula(name, inputs, key), Formula(right, inputs, key)
        if self.right.derivatives:
            raise UserError(
                f"{key}: {text!r} has {UNKNOWN} on the right too, where a formula in the coordinates stands"
            )

    def substituted(self, solution: Any) -> Any:
        """sympy's error of a solution, an expression in the free coordinates; 0 where the condition holds."""
        import sympy

        at = {sympy.Symbol(self.left.inputs[i], real=True): value for i, value in self.fixed.items()}
        return (self.left.substituted(solution) - self.right.expression).subs(at)


def constant(text: Any, message: str) -> Any:
    """The finite number that a text such as "2*pi" stands for, sympy's. Raises UserError with this message."""
    try:
        found = Formula(str(text), (), "number").expression
        value = float(found)
    except (ValueError, TypeError):  # UserError is a ValueError
        raise UserError(f"{message}, not {str(text).strip()}") from None
    if not math.isfinite(value):
        raise UserError(f"{message}, not {str(text).strip()}")
    return found
