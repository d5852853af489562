"""The Fokker-Planck equation: mass, sign, stationary density, and the Ornstein-Uhlenbeck process."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deeprelax.pde.problems.functions import double_well
from deeprelax.pde.problems.rough import rough
from deeprelax.pde.solvers.fokker_planck import density, evolution, generator
from deeprelax.pde.solvers.grid import axis, observed_order, spacing_of


def test_fokker_planck_conserves_mass_keeps_the_sign_and_the_gibbs_density() -> None:
    x, d = axis(-3, 3, 301), 0.4
    f = rough().line(x)
    q = generator(f, spacing_of(x), d)
    gibbs = np.exp(-(f - f.min()) / d)
    assert np.abs(q @ gibbs).max() < 1e-12 * np.abs(q).max()
    start = np.where(np.abs(x - 1.5) < 0.2, 1.0, 0.0)
    later = density(start, q, 0.05)
    assert later.sum() == pytest.approx(start.sum(), rel=1e-10)
    assert later.min() > -1e-14


def test_fokker_planck_follows_the_ornstein_uhlenbeck_process_with_second_order() -> None:
    c, d, s, errors, spacing = 1.5, 0.3, 0.4, [], []
    for n in (101, 201, 401):
        x = axis(-4, 4, n)
        start = np.exp(-((x - 1) ** 2) / (2 * 0.1))
        later = density(start, generator(c / 2 * x**2, spacing_of(x), d), s)
        mean = math.exp(-c * s)
        variance = 0.1 * math.exp(-2 * c * s) + d / c * (1 - math.exp(-2 * c * s))
        exact = np.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
        errors.append(np.abs(later / (later.sum() * spacing_of(x)) - exact).max())
        spacing.append(spacing_of(x))
    assert errors[-1] < 1e-3
    assert observed_order(spacing, errors) == pytest.approx(2, abs=0.2)


def test_the_evolution_passes_through_the_density() -> None:
    x = axis(-2, 2, 101)
    q = generator(double_well().line(x), 0.04, 0.2)
    start = np.exp(-((x - 0.5) ** 2) / 0.1)
    rows = evolution(start, q, 0.6, 4)
    for i, row in enumerate(rows):
        np.testing.assert_allclose(row, density(start, q, 0.15 * i), rtol=0, atol=1e-10)


def test_fokker_planck_in_two_dimensions_is_the_product_of_lines() -> None:
    x, d = axis(-2, 2, 41), 0.3
    f = double_well().line(x)
    q1 = generator(f, 0.1, d)
    q2 = generator(f[:, None] + f, 0.1, d)
    start = np.exp(-((x - 0.5) ** 2) / 0.1)
    line = density(start, q1, 0.3)
    np.testing.assert_allclose(density(start[:, None] * start, q2, 0.3), line[:, None] * line, rtol=0, atol=1e-11)
