"""Optimizers that descend a relaxed loss. They know torch and nothing of the rest of this package.

The classes are imported when they are first used, so that the choices and the ranges of the hyper-parameters
(`deeprelax.optim.hyperparameters`) can be read without importing torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adamw import AdamW as AdamW
    from .allocator import keep_freed_memory as keep_freed_memory
    from .batchnorm import kept_statistics as kept_statistics
    from .batchnorm import reestimate_batchnorm as reestimate_batchnorm
    from .elastic_sgd import ElasticSGD as ElasticSGD
    from .entropy_sgd import EntropySGD as EntropySGD
    from .equation import pde_relaxed as pde_relaxed
    from .hamilton_jacobi import HamiltonJacobi as HamiltonJacobi
    from .heat import Heat as Heat
    from .lbfgs import LBFGS as LBFGS
    from .lookahead import SNOO as SNOO
    from .lookahead import DiLoCo as DiLoCo
    from .lookahead import Lookahead as Lookahead
    from .m_rwp import MRWP as MRWP
    from .msam import MSAM as MSAM
    from .parle import Parle as Parle
    from .porous_medium import PorousMedium as PorousMedium
    from .relaxation import Relaxation as Relaxation
    from .replicated_sgd import ReplicatedSGD as ReplicatedSGD
    from .sam import ASAM as ASAM
    from .sam import SAM as SAM
    from .schedule_free import ScheduleFree as ScheduleFree
    from .sgd import SGD as SGD
    from .sgld import SGLD as SGLD

# what `optimizer=` may be: "module:attribute" of this folder, and the keywords that the choice fixes
CHOICES: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("sgd:SGD", {}),
    "adamw": ("adamw:AdamW", {}),
    "entropy_sgd": ("entropy_sgd:EntropySGD", {}),
    "hj": ("hamilton_jacobi:HamiltonJacobi", {"solver": "fixed_point"}),
    "hj_proximal": ("hamilton_jacobi:HamiltonJacobi", {"solver": "proximal"}),
    "heat": ("heat:Heat", {}),
    "pde_relaxed": ("equation:pde_relaxed", {}),
    "pme": ("porous_medium:PorousMedium", {}),
    "sgld": ("sgld:SGLD", {}),
    "schedule_free": ("schedule_free:ScheduleFree", {}),
    "sam": ("sam:SAM", {}),
    "asam": ("sam:ASAM", {}),
    "parle": ("parle:Parle", {}),
    "elastic_sgd": ("elastic_sgd:ElasticSGD", {}),
    "replicated_sgd": ("replicated_sgd:ReplicatedSGD", {}),
    "lookahead": ("lookahead:Lookahead", {}),
    "snoo": ("lookahead:SNOO", {}),
    "diloco": ("lookahead:DiLoCo", {}),
    "msam": ("msam:MSAM", {}),
    "m_rwp": ("m_rwp:MRWP", {}),
    "lbfgs": ("lbfgs:LBFGS", {}),
}
_TOOLS = (
    "relaxation:Relaxation", "batchnorm:reestimate_batchnorm", "batchnorm:kept_statistics",
    "allocator:keep_freed_memory",
)  # fmt: skip
_PATHS = {path.partition(":")[2]: path for path in (*_TOOLS, *(path for path, _ in CHOICES.values()))}
__all__ = list(_PATHS)


def __getattr__(name: str) -> Any:
    if name not in _PATHS:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    found = getattr(importlib.import_module(f".{_PATHS[name].partition(':')[0]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
