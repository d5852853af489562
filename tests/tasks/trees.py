"""Symbolic tasks and expression trees, planted ones among them, in float64."""

from __future__ import annotations

import math
from typing import Any

import torch

from deeprelax.models import ExpressionTree
from deeprelax.models.hyperparameters import OPERATORS
from deeprelax.tasks import Setting
from deeprelax.tasks.symbolic import Symbolic
from tests.tasks.problems import CPU


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
