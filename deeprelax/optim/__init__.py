"""Optimizers that descend a relaxed loss. They know torch and nothing of the rest of this package.

The names below are imported when they are first used, so that the ranges of the hyper-parameters
(`deeprelax.optim.hyperparameters`) can be read without importing torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .entropy_sgd import EntropySGD
    from .equation import pde_relaxed
    from .hamilton_jacobi import HamiltonJacobi
    from .heat import Heat
    from .relaxation import Relaxation
    from .sgd import SGD

__all__ = ["SGD", "EntropySGD", "HamiltonJacobi", "Heat", "Relaxation", "pde_relaxed"]

_MODULES = {
    "EntropySGD": "entropy_sgd",
    "HamiltonJacobi": "hamilton_jacobi",
    "Heat": "heat",
    "Relaxation": "relaxation",
    "SGD": "sgd",
    "pde_relaxed": "equation",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    found = getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = found
    return found
