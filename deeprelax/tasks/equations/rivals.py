"""What a network is up against: each equation by a classical solver on a grid, with its seconds and its error."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dst, fftfreq, fftn, idst, ifftn, irfft, rfft

from ...errors import UserError
from ...optim.hyperparameters import whole
from ...pde.solvers.cole_hopf import local_entropy
from ...pde.solvers.grid import spacing_of
from ...pde.solvers.heat import heat
from .equation import Equation

Array = NDArray[np.float64]
Solve = Callable[[Equation, Array, Array], Array]  # (equation, axis (n,), u at the start (m, n, ...)) to u at the end
LARGEST = 4096
MARGIN = 1.6  # the oscillator's grid over its domain: there psi is periodic to rounding for omega >= 1, 2e-7 at 1/2


@dataclass(frozen=True)
class Rival:
    """How well and how fast a classical method solves an equation.

    method: its name.
    points: of the grid, along each space dimension.
    seconds: wall-clock time of the solution, on one CPU core, without that of the exact solution it is compared with.
    error: |u - exact| / |exact|, root of the sum of squares over outputs and the grid's points at the final time.
    """

    method: str
    points: int
    seconds: float
    error: float


def rival(problem: Equation, points: int) -> Rival | None:
    """Solves the equation on a grid of so many points (in the plane: points x points) up to its final time.

    None for an equation of your own, for which there is no method. UserError unless 8 <= points <= 4096.
    """
    if not whole(8, LARGEST)(points):
        raise UserError(f"points must be an integer from 8 to {LARGEST}, not {points!r}")
    if problem.name not in METHODS:
        return None
    name, solve = METHODS[problem.name]
    axis = _axis(problem, points)
    begin, end = (_exact(problem, axis, t) for t in (problem.low[0], problem.high[0]))
    clock = time.perf_counter()
    found = solve(problem, axis, begin)
    seconds = time.perf_counter() - clock
    inside = (axis >= problem.low[1]) & (axis <= problem.high[1])
    for dim in range(1, end.ndim):
        found, end = (np.compress(inside, values, axis=dim) for values in (found, end))
    error = float(np.linalg.norm(found - end) / np.linalg.norm(end))
    return Rival(name, points, seconds, error)


def _axis(problem: Equation, points: int) -> Array:
    """Both ends where the boundary is zero; else, and for Burgers, which is odd, the last one is left to the first."""
    low, high = problem.low[1], problem.high[1]
    if problem.name in ("heat", "wave"):
        return np.linspace(low, high, points)
    wide = MARGIN if problem.boundary == "exact" else 1.0
    return wide * np.linspace(low, high, points, endpoint=False)


def _exact(problem: Equation, axis: Array, t: float) -> Array:
    """The solution on the grid, (m, n) or (m, n, n)."""
    d = len(problem.inputs) - 1
    columns = [c.ravel() for c in np.meshgrid(*[axis] * d, indexing="ij")]
    points = torch.from_numpy(np.stack([np.full_like(columns[0], t), *columns], axis=1))
    with torch.no_grad():
        return problem.exact(points).T.reshape(-1, *[len(axis)] * d).numpy()


def _duration(problem: Equation) -> float:
    return problem.high[0] - problem.low[0]


def _rk4(rate: Callable[[Array], Array], u: Array, duration: float, fastest: float) -> Array:
    """Runge and Kutta's method, u' = rate(u), with `fastest` dt at most 1: it is stable to 2.7 for any kind of rate."""
    steps = max(1, math.ceil(duration * fastest))
    dt = duration / steps
    for _ in range(steps):
        a = rate(u)
        b = rate(u + dt / 2 * a)
        c = rate(u + dt / 2 * b)
        d = rate(u + dt * c)
        u = u + dt / 6 * (a + 2 * b + 2 * c + d)
    return u


def _wave_numbers(axis: Array) -> Array:
    """Of rfft on a periodic axis, (n//2 + 1,)."""
    return 2 * math.pi / (len(axis) * spacing_of(axis)) * np.arange(len(axis) // 2 + 1, dtype=np.float64)


def _heat(problem: Equation, x: Array, u: Array) -> Array:
    """The whole line's solution from the odd continuation, which is zero at both ends."""
    dx, duration, temperature = spacing_of(x), _duration(problem), 2 * problem.coefficient
    margin = math.ceil(9 * math.sqrt(temperature * duration) / dx) + 1
    continued = np.pad(u[0], margin, mode="reflect", reflect_type="odd")
    return heat(continued, dx, duration, temperature)[None, margin:-margin]


def _viscous_hj(problem: Equation, x: Array, u: Array) -> Array:
    """From the periodic continuation, as far as the convolution reaches."""
    dx, duration, temperature = spacing_of(x), _duration(problem), problem.coefficient
    reach = math.sqrt(2 * (float(np.ptp(u)) + 40 * temperature) * duration)
    margin = math.ceil(reach / dx) + 1
    return local_entropy(np.pad(u[0], margin, mode="wrap"), dx, duration, temperature)[None, margin:-margin]


def _convection(problem: Equation, x: Array, u: Array) -> Array:
    slope = -1j * problem.coefficient * _wave_numbers(x)
    fastest = float(np.abs(slope).max())
    return _rk4(lambda u: irfft(slope * rfft(u), len(x)), u, _duration(problem), fastest)


def _reaction(problem: Equation, x: Array, u: Array) -> Array:
    """The time step shrinks with the grid's spacing as if something moved."""
    rho = problem.coefficient
    return _rk4(lambda u: rho * u * (1 - u), u, _duration(problem), rho * len(x) / 2)


def _wave(problem: Equation, x: Array, u: Array) -> Array:
    """In sines, with the state (u, u_t) at the points between the ends; it starts at rest.

    It ends at a turning point, t = 1, where an error of phase hardly shows: the error is smaller than at other times.
    """
    inner = len(x) - 2
    k = math.pi / (x[-1] - x[0]) * np.arange(1, inner + 1)

    def rate(state: Array) -> Array:
        return np.stack((state[1], idst(-4 * k**2 * dst(state[0], 1), 1)))

    state = np.stack((u[0, 1:-1], np.zeros(inner)))
    return np.pad(_rk4(rate, state, _duration(problem), 2 * k[-1])[:1], ((0, 0), (1, 1)))


def _burgers(problem: Equation, x: Array, u: Array) -> Array:
    """-(u^2/2)_x + nu u_xx, the last exactly: Runge and Kutta's method for exp(nu k^2 t) times the Fourier sum.

    The upper third of the modes is dropped, so that squares alias into none that is kept.
    """
    n, kept = len(x), np.arange(len(x) // 2 + 1) < len(x) / 3
    k = _wave_numbers(x) * kept
    duration = _duration(problem)
    steps = math.ceil(duration * k.max())  # |u| <= 1
    dt = duration / steps
    half = np.exp(-problem.coefficient * k**2 * dt / 2)

    def rate(v: Any) -> Any:
        return -0.5j * k * rfft(irfft(v, n) ** 2)

    v = rfft(u[0]) * kept
    for _ in range(steps):
        a = rate(v)
        b = rate(half * (v + dt / 2 * a))
        c = rate(half * v + dt / 2 * b)
        d = rate(half * (half * v + dt * c))
        v = half**2 * (v + dt / 6 * a) + dt / 6 * (2 * half * (b + c) + d)
    return np.asarray(irfft(v, n))[None]


def _oscillator(problem: Equation, x: Array, u: Array) -> Array:
    """Half a step of the potential, one in Fourier space, half a step; three such of Yoshida's lengths: fourth order.

    Source: Yoshida, Phys. Lett. A 150 (1990) 262.
    """
    d = u.ndim - 1
    squares = [np.meshgrid(*[a**2] * d, indexing="ij") for a in (x, 2 * math.pi * fftfreq(len(x), spacing_of(x)))]
    potential, kinetic = 0.5 * problem.coefficient**2 * sum(squares[0]), 0.5 * sum(squares[1])
    steps = math.ceil(len(x) / 2 * max(1.0, problem.coefficient))
    outer = 1 / (2 - 2 ** (1 / 3))
    lengths = [_duration(problem) / steps * share for share in (outer, 1 - 2 * outer, outer)]
    factors: list[tuple[Any, Any]] = [(np.exp(-0.5j * dt * potential), np.exp(-1j * dt * kinetic)) for dt in lengths]
    psi = u[0] + 1j * u[1]
    for _ in range(steps):
        for half, whole_step in factors:
            psi = half * ifftn(whole_step * fftn(half * psi))
    return np.stack((psi.real, psi.imag))


METHODS: dict[str, tuple[str, Solve]] = {
    "heat": ("convolution with a Gaussian", _heat),
    "convection": ("Fourier pseudo-spectral, RK4", _convection),
    "reaction": ("RK4 at each point", _reaction),
    "wave": ("sine pseudo-spectral, RK4", _wave),
    "burgers": ("Fourier pseudo-spectral, RK4 with an integrating factor", _burgers),
    "oscillator": ("split-step Fourier, fourth order", _oscillator),
    "oscillator_2d": ("split-step Fourier, fourth order", _oscillator),
    "viscous_hj": ("Cole-Hopf convolution", _viscous_hj),
}
