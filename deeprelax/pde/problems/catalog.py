"""All problems by name: the choices of the key `problem`."""

from __future__ import annotations

from collections.abc import Callable

from .functions import Problem, absolute, cosine, double_well, ellipse, quadratic, rastrigin
from .rough import rough
from .wells import Wells

# name: constructor, of the dimension
PROBLEMS: dict[str, Callable[[int], Problem]] = {
    "rough": rough,
    "double_well": double_well,
    "two_wells": lambda dimension: Wells(dimension=dimension).problem(),
    "rastrigin": rastrigin,
    "cosine": cosine,
    "absolute": absolute,
    "quadratic": quadratic,
    "ellipse": ellipse,
}
