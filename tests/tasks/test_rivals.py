"""The classical solvers: their errors fall with the grid, at the order they should, below stated bounds."""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor

from deeprelax.tasks.equations.catalog import CATALOG, Heat, equation
from deeprelax.tasks.equations.derivatives import Field
from deeprelax.tasks.equations.rivals import METHODS, rival

# (coefficient, grids, the most that the errors on them may be, on the last but one and the last)
SPECTRAL = [
    ("heat", 0.001, (8, 16, 32), 1e-4, 1e-14),
    ("viscous_hj", 0.2, (8, 16, 32), 1e-8, 1e-14),
    ("viscous_hj", 0.01, (32, 64, 128), 1e-9, 1e-14),
    ("oscillator", 1.0, (8, 16, 32), 1e-2, 2e-5),
    ("oscillator_2d", 1.0, (8, 16, 32), 1e-2, 3e-5),
    ("burgers", None, (128, 256, 512), 1e-2, 3e-4),
]
FOURTH_ORDER = [  # once the grid resolves the solution, the error is that of the time steps
    ("convection", 5.0, (32, 64, 128), 1e-7, 1e-8),
    ("reaction", 5.0, (32, 64, 128), 1e-8, 1e-9),
    ("wave", 3.0, (33, 65, 129), 1e-7, 1e-9),
    ("burgers", 1.0, (64, 128, 256), 1e-8, 1e-9),
    ("oscillator", 1.0, (64, 128, 256), 1e-7, 1e-8),
    ("oscillator_2d", 2.0, (48, 64, 96), 1e-5, 1e-6),
]


def errors(name: str, coefficient: float | None, grids: tuple[int, ...]) -> list[float]:
    found = [rival(equation(name, coefficient), points) for points in grids]
    assert all(one is not None and one.seconds > 0 and one.method for one in found)
    assert [one.points for one in found if one is not None] == list(grids)
    return [one.error for one in found if one is not None]


@pytest.mark.parametrize(("name", "coefficient", "grids", "second", "last"), SPECTRAL)
def test_a_finer_grid_is_far_better(
    name: str, coefficient: float | None, grids: tuple[int, ...], second: float, last: float
) -> None:
    found = errors(name, coefficient, grids)
    assert found[0] > 3 * found[1] > 9 * found[2]
    assert found[1] < second
    assert found[2] < last


@pytest.mark.parametrize(("name", "coefficient", "grids", "second", "last"), FOURTH_ORDER)
def test_the_time_steps_are_of_fourth_order(
    name: str, coefficient: float | None, grids: tuple[int, ...], second: float, last: float
) -> None:
    found = errors(name, coefficient, grids)
    order = -np.polyfit(np.log(grids), np.log(found), 1)[0]
    assert 3.6 < order < 5.2  # the wave ends at a turning point: what is seen is damping, of fifth order, not the phase
    assert found[1] < second
    assert found[2] < last


def test_heat_is_exact_on_any_grid_at_the_default() -> None:
    assert max(errors("heat", None, (8, 20, 100))) < 2e-14


def test_each_equation_has_a_rival_that_is_no_worse_than_one_in_a_hundred_thousand() -> None:
    """With 64 points; Burgers' shock takes 1,024."""
    assert set(METHODS) == set(CATALOG)
    for name in CATALOG:
        assert errors(name, None, (1024 if name == "burgers" else 64,))[0] < 1e-5


class Own(Heat):
    name = "own"

    def residual(self, field: Field) -> Tensor:
        return field.u


def test_an_equation_of_ones_own_has_none() -> None:
    assert rival(Own(0.4), 16) is None


@pytest.mark.parametrize("points", [7, 4097, 16.0, True])
def test_a_wrong_number_of_points_is_refused(points: int) -> None:
    with pytest.raises(ValueError, match="points must be an integer from 8 to 4096, not"):
        rival(equation("heat"), points)
