"""Optimizers that descend a relaxed loss. They know torch and nothing of the rest of this package."""

from .entropy_sgd import EntropySGD
from .hamilton_jacobi import HamiltonJacobi
from .heat import Heat
from .pde_relaxed import pde_relaxed
from .relaxation import Relaxation
from .sgd import SGD

__all__ = ["SGD", "EntropySGD", "HamiltonJacobi", "Heat", "Relaxation", "pde_relaxed"]
