"""Resolve the names of tasks, data sets, models and optimizers to what is behind them, imported when needed."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import models, optim, tasks
from ..data import sources
from ..errors import UserError, did_you_mean, own_code

DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")  # package.module:Name

# kind -> name -> (package.module:Name, the keyword arguments that this name fixes)
REGISTRY: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    kind: {name: (f"{room.__name__}.{path}", fixed) for name, (path, fixed) in room.CHOICES.items()}
    for kind, room in {"task": tasks, "dataset": sources, "model": models, "optimizer": optim}.items()
}


def resolve(kind: str, name: str) -> Callable[..., Any]:
    """The class or function behind `kind`.name: a shipped one, or `package.module:Name` from anywhere.

    Raises UserError if there is no such name, module or attribute.
    """
    path, _ = REGISTRY[kind].get(name, (name, {}))
    if ":" not in path:
        raise UserError(
            f"{kind}.name={name} is unknown{did_you_mean(name, REGISTRY[kind])}; "
            f"one of {', '.join(REGISTRY[kind])}, or your own as package.module:Name"
        )
    module_name, _, attribute = path.partition(":")
    if path == name:
        own_code(module_name)
        if str(Path.cwd()) not in sys.path:  # a console script lacks it, unlike `python -m`
            sys.path.append(str(Path.cwd()))
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise  # the module exists, but something that it imports does not: the traceback says where
        raise UserError(
            f"{kind}.name={name}: there is no module {error.name}; is it installed or in PYTHONPATH?"
        ) from None
    except AttributeError:
        raise UserError(f"{kind}.name={name}: module {module_name} has no {attribute}") from None
    return found


def call(kind: str, name: str, /, *arguments: Any, **keywords: Any) -> Any:
    """Call what `resolve` finds, with the arguments and the keywords that the name fixes.

    Raises UserError if it does not take these keywords, or refuses their values with a ValueError, and for a class that
    lacks methods.
    """
    function = resolve(kind, name)
    _, fixed = REGISTRY[kind].get(name, (name, {}))
    for key in fixed.keys() & keywords:
        raise UserError(f"{kind}.options: {name} does not take {key}, which is {fixed[key]} there: leave it out")
    keywords |= fixed
    if inspect.isabstract(function):
        lacking = ", ".join(sorted(function.__abstractmethods__))  # type: ignore[attr-defined]
        raise UserError(f"{kind}.name={name} lacks {lacking}: write {'them' if ',' in lacking else 'it'}")
    try:  # bound beforehand: a TypeError from inside the call would be a bug, which must keep its traceback
        inspect.signature(function).bind(*arguments, **keywords)
    except TypeError as error:
        raise UserError(f"{kind}.options: {name} does not take them: {error}") from None
    except ValueError:
        pass  # a built-in without a signature: it is called unchecked
    try:
        return function(*arguments, **keywords)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{kind}: {name} refuses its keys: {error}") from error
