"""Differential equations with exact solutions, for networks that are to solve them.

    derivatives.py   Field: a function of points and its partial derivatives
    equation.py      Equation: residual, exact solution, domain
    catalog.py       eight equations by name
    quadrature.py    the Cole-Hopf formula, for two of them
    formulas.py      Formula: an equation as text, for torch and for sympy
    box.py           the box of their coordinates, and points in it
    rivals.py        the same equations by classical solvers

Knows torch, numpy and scipy; deeprelax.pde.solvers in rivals.py alone.
"""

from __future__ import annotations

from .catalog import CATALOG as CATALOG
from .catalog import equation as equation
from .derivatives import Field as Field
from .equation import Equation as Equation
