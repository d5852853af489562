"""Symbolic solutions: an expression tree descends a differential equation's residual, and a formula is read out of it.

problems.py      the shipped equations as text
conditions.py    Condition: "u(0, x) = sin(x)" read once, for torch and for sympy
readout.py       a tree as sympy's expression, its constants rounded, and the proof that it solves the equation
task.py          the loss, its points, hardening, scores
"""

from __future__ import annotations

from .task import Symbolic as Symbolic
