"""The terms that an equation may consist of, their values, and which combination of them is nearest to zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import UserError
from ..equations import Field
from ..equations.formulas import Formula


class Dictionary:
    """Terms from a string, as "u_t, u_xx, u*u_x": formulas in u, its derivatives and the coordinates.

    Raises UserError for what cannot be read, a term that is there twice, and fewer than two of them.
    """

    def __init__(self, terms: str, inputs: tuple[str, ...], key: str = "task.terms") -> None:
        self.names = tuple(term.strip() for term in terms.split(","))
        self.formulas = [Formula(name, inputs, key) for name in self.names]
        if len(self.names) < 2:
            raise UserError(f"{key}={terms!r} has one term, and an equation needs two: as u_t, u_xx, u*u_x")
        seen: dict[object, str] = {}
        for name, formula in zip(self.names, self.formulas, strict=True):
            if not formula.derivatives:
                raise UserError(f"{key}: there is no u in {name!r}: leave it out")
            if formula.expression in seen:
                raise UserError(f"{key}: {name} is {seen[formula.expression]} again: leave one out")
            seen[formula.expression] = name

    def __call__(self, field: Field) -> Tensor:
        """M, (points, terms)."""
        return torch.stack([formula(field) for formula in self.formulas], 1)

    def vector(self, coefficients: Mapping[str, Tensor | float], like: Tensor) -> Tensor:
        """Coefficients by term as a vector (terms,) of unit length; KeyError if a term is not in the dictionary."""
        by_formula = {formula.expression: i for i, formula in enumerate(self.formulas)}
        places = [
            by_formula[Formula(name, self.formulas[0].inputs).expression]  # u_x**2 is u_x*u_x
            for name in coefficients
        ]
        vector = torch.zeros(len(self.names), dtype=like.dtype, device=like.device)
        values = [torch.as_tensor(value, dtype=like.dtype, device=like.device) for value in coefficients.values()]
        vector = vector.index_put((torch.tensor(places, device=like.device),), torch.stack(values))
        unit: Tensor = vector / vector.norm()
        return unit

    def solved_for(self, c: Tensor) -> tuple[int, dict[int, float]]:
        """c (terms,) as an equation: the number of the term on the left, and coefficients of those on the right.

        On the left is the derivative by the first coordinate alone of the highest order, else the first term there is.
        """
        left = max((i for i in range(len(c)) if c[i] != 0), key=lambda i: (self._order(i), -i))
        return left, {i: float(-c[i] / c[left]) for i in range(len(c)) if i != left and c[i] != 0}

    def _order(self, i: int) -> int:
        unknown, _, letters = self.names[i].partition("_")
        return len(letters) if unknown == "u" and set(letters) == {self.formulas[i].inputs[0]} else 0

    def shown(self, c: Tensor, digits: int = 4) -> tuple[str, str]:
        """The equation as text and as LaTeX."""
        import sympy

        left, right = self.solved_for(c)
        text, latex = "", ""
        for i, value in right.items():
            number, sign = f"{abs(value):.{digits}g}", "-" if value < 0 else "+"
            lead, one = f" {sign} " if text else sign.strip("+"), number == "1"
            text += lead + ("" if one else f"{number}*") + self.names[i].replace(" ", "")
            latex += lead + ("" if one else f"{number} ") + sympy.latex(self.formulas[i].expression)
        return f"{self.names[left]} = {text or 0}", f"{sympy.latex(self.formulas[left].expression)} = {latex or 0}"

    def told(self, c: Tensor) -> dict[str, Any]:
        """What result.json has of c."""
        text, latex = self.shown(c)
        left, right = self.solved_for(c)
        found = {self.names[left]: 1.0} | {self.names[i]: -value for i, value in right.items()}
        return {"formula": text, "latex": latex, "coefficients": found}


def smallest(gram: Tensor, kept: Tensor) -> Tensor:
    """The unit vector c (terms,) with the smallest `residual` among those that are zero where `kept` (terms,) is not 1.

    Terms are scaled to |M_j| = 1 first, so that units do not matter. At the smallest residual its derivative by c is
    zero, so c counts as constant in a loss.

    Args:
        gram: M'M/n, (terms, terms).
        kept: 1 or 0 for each term.
    """
    with torch.no_grad():
        gram = gram.detach()
        size = gram.diagonal().clamp(min=1e-60).sqrt()
        scaled = gram / (size * size[:, None]) * kept * kept[:, None] + 2 * len(kept) * torch.diag(1 - kept)
        # the loss of terms that are not finite is not finite either, which the loop tells; eigh would raise
        c: Tensor = torch.linalg.eigh(scaled.nan_to_num(0.0, 0.0, 0.0))[1][:, 0] * kept / size.nan_to_num(1.0, 1.0)
        unit: Tensor = c / c.norm()
        return unit


def residual(terms: Tensor, c: Tensor) -> Tensor:
    """|M c|^2 / sum_j c_j^2 |M_j|^2, between 0 and the number of terms: what is left where they cancel. 0-dim."""
    left: Tensor = (terms @ c).square().mean() / (c.square() @ terms.square().mean(0))
    return left


def eliminated(gram: Tensor, kept: Tensor, tolerance: float) -> Tensor:
    """`kept` without the terms that are not needed.

    They are dropped one by one, each time the one without which the residual is smallest, as long as its root is at
    most `tolerance` and two terms are left. gram: M'M/n.
    """
    kept = kept.clone()
    while kept.sum() > 2:
        tried = []
        for j in kept.nonzero()[:, 0].tolist():
            rest = kept.clone()
            rest[j] = 0
            c = smallest(gram, rest)
            tried.append((float(c @ gram @ c / (c.square() @ gram.diagonal())), j))
        least, j = min(tried)
        if not least <= tolerance**2:
            break
        kept[j] = 0
    return kept


def default_terms(inputs: tuple[str, ...]) -> str:
    """Derivatives by each coordinate to the second order, by time, the first of several, to the first, and products."""
    time = inputs[:1] if len(inputs) > 1 else ()
    space = inputs[len(time) :]
    first, second = (f"u_{x}" for x in (*time, *space)), (f"u_{x}{x}" for x in space)
    return ", ".join([*first, *second, "u", "u**2", *(f"u*u_{x}" for x in space), *(f"u_{x}**2" for x in space)])
