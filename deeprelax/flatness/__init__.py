"""Measures of the loss at given weights and around them, for networks and losses of one's own too.

    loss.py         a loss as a weighted mean of batch losses; its value and gradient at shifted weights
    curvature.py    products with its Hessian, or with its Gauss-Newton matrix, on kept graphs
    spectrum.py     eigenvalues and trace of such a matrix
    density.py      the density of all its eigenvalues
    sharpnesses.py  the rise of the loss around the weights, on average and at worst
    entropy.py      local entropy u(x, gamma), the relaxed loss itself; thermodynamic.py has its integrals and averages
    landscapes.py   the loss on lines and planes, whose directions directions.py has

They know torch, tasks and models, nothing of training. Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .density import spectral_density as spectral_density
    from .entropy import local_entropy as local_entropy
    from .landscapes import between as between
    from .landscapes import landscape as landscape
    from .landscapes import trajectory as trajectory
    from .loss import Composite as Composite
    from .sharpnesses import sharpness as sharpness
    from .spectrum import hessian_eigenvalues as hessian_eigenvalues
    from .spectrum import trace as trace

_MODULES = {
    "Composite": "loss",
    "hessian_eigenvalues": "spectrum",
    "trace": "spectrum",
    "spectral_density": "density",
    "sharpness": "sharpnesses",
    "local_entropy": "entropy",
    "landscape": "landscapes",
    "between": "landscapes",
    "trajectory": "landscapes",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
