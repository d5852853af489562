"""What can be learned. A task knows torch and data/, never the loop; its classes are imported when first used."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classification import Classification as Classification
    from .diagonal import Diagonal as Diagonal
    from .least_squares import LeastSquares as LeastSquares
    from .matrix_sensing import MatrixSensing as MatrixSensing
    from .metric import Metric as Metric
    from .regression import Regression as Regression
    from .task import Chunks as Chunks
    from .task import Setting as Setting
    from .task import Task as Task

_TOOLS = ("task:Task", "task:Setting", "task:Chunks", "metric:Metric", "least_squares:LeastSquares")
_NO_TASKS = {"hyperparameters", "equations", "confusion", *(path.partition(":")[0] for path in _TOOLS)}
# what `task=` may be: "module:attribute" of this folder, and the keywords that the choice fixes. Any other file here is
# a task, as matrix_sensing.py with its class MatrixSensing: a new one needs no line in this file.
CHOICES: dict[str, tuple[str, dict[str, Any]]] = {
    name: (f"{name}:{name.title().replace('_', '')}", {})
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__))
    if name not in _NO_TASKS
}
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
