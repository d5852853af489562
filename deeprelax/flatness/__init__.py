"""Measures of the loss around given weights, for networks and losses of one's own too.

They know torch, tasks and models, nothing of training. Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .landscapes import between as between
    from .landscapes import landscape as landscape
    from .landscapes import trajectory as trajectory

_MODULES = {"landscape": "landscapes", "between": "landscapes", "trajectory": "landscapes"}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
