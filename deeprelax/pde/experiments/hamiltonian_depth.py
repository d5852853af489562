"""Depth as time, the measurements: Hamiltonian and momenta of a network, and the limit of near-identity layers.

Of dx/dt = f(t, x) with the loss L at its end, p = dL/dx(t) obeys dp/dt = -(df/dx)' p, so that x and p are conjugate:
H(x, p, t) = p.f(t, x), dx/dt = dH/dp, dp/dt = -dH/dx, dH/dt = p.df/dt. H is constant along depth where f has no t of
its own; a solver of order q keeps it to O(h^q), for backward through its steps solves the adjoint equation to that
order. With dx a tangent, carried by the derivative of each step, p.dx is constant whatever f and h are.

Source: Ruseckas, arXiv 1909.03767.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]


class OverDepth(Protocol):
    """A network of depth as time: from stem(images) = x(0) in `steps` equal steps to x(1), of which L is made."""

    @property
    def steps(self) -> int: ...
    @property
    def stem(self) -> Callable[[Tensor], Tensor]: ...
    @property
    def field(self) -> Callable[[float, Tensor], Tensor]: ...
    def advance(self, t: float, x: Tensor, h: float) -> Tensor: ...


Loss = Callable[["Tensor"], "Tensor"]  # the sum over images of each one's loss, of x(1)


@dataclass(frozen=True)
class Trained:
    """What is followed: networks before and after training, each with its loss; of one run, on the same images."""

    name: str  # of the run
    images: Tensor
    networks: dict[str, tuple[OverDepth, Loss]]


@dataclass(frozen=True)
class AlongDepth:
    """Of each image, at each t_k = k/n: all but t are (images, n + 1)."""

    t: Array
    hamiltonian: Array  # p.f
    momentum_norm: Array  # |p|
    speed: Array  # |f|
    pairing: Array  # p.dx, over |p| |dx| at t = 0

    @property
    def drift(self) -> float:
        """How much H changes: its largest root mean square distance from H(0), over that of H(0) from 0."""
        away = np.sqrt(((self.hamiltonian - self.hamiltonian[:, :1]) ** 2).mean(0)).max()
        return float(away / np.sqrt((self.hamiltonian[:, 0] ** 2).mean()))

    @property
    def pairing_drift(self) -> float:
        """The largest change of p.dx, over |p| |dx| at t = 0."""
        return float(np.abs(self.pairing - self.pairing[:, :1]).max())


def along_depth(network: OverDepth, images: Tensor, loss: Loss, steps: int | None = None, seed: int = 0) -> AlongDepth:
    """Follow x, p and a tangent dx through the network, in float64 where network and images are.

    steps: n, by default the network's own. dx at t = 0 is Gaussian, of the seed. No image may act on another in the
    network, as by batch norm.
    """
    import torch

    n = steps or network.steps
    h = 1 / n
    with torch.enable_grad():
        states = [network.stem(images).detach().requires_grad_()]
        for k in range(n):
            states.append(network.advance(k * h, states[-1], h))
        momenta = torch.autograd.grad(loss(states[-1]), states)
    dx = torch.randn(states[0].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(states[0])
    unit = _norm(momenta[0]) * _norm(dx)
    found: dict[str, list[Tensor]] = {"hamiltonian": [], "momentum_norm": [], "speed": [], "pairing": []}
    for k, (state, p) in enumerate(zip(states, momenta, strict=True)):
        x = state.detach()
        with torch.no_grad():
            f = network.field(k * h, x)
            found["hamiltonian"].append(_dot(p, f))
            found["momentum_norm"].append(_norm(p))
            found["speed"].append(_norm(f))
            found["pairing"].append(_dot(p, dx) / unit)
            if k < n:
                dx = _pushed(network, k * h, x, h, dx)
    arrays: dict[str, Any] = {name: torch.stack(each, 1).double().cpu().numpy() for name, each in found.items()}
    return AlongDepth(np.arange(n + 1) / n, **arrays)


def _pushed(network: OverDepth, t: float, x: Tensor, h: float, dx: Tensor) -> Tensor:
    """The derivative of a step by x in the direction dx, by forward mode, which has nothing in common with p's."""
    from torch.func import jvp

    with warnings.catch_warnings():  # torch scripts the rules that it has no formula for, and warns of its own script
        warnings.simplefilter("ignore", FutureWarning)
        pushed: Tensor = jvp(lambda y: network.advance(t, y, h), (x,), (dx,))[1]
    return pushed


def _dot(a: Tensor, b: Tensor) -> Tensor:
    found: Tensor = (a * b).flatten(1).sum(1)
    return found


def _norm(a: Tensor) -> Tensor:
    found: Tensor = a.flatten(1).norm(dim=1)
    return found


def near_identity(layers: Array, size: int = 8, seed: int = 0) -> Array:
    """How far a network of L near-identity layers is from its differential equation, for each L: a norm at depth 1.

    x <- s(W x + b/L) with W = I + A/L and s(u) = u + g(u)/L, L layers of them, tends to x(1) of
    dx/dt = A x + b + g(x) as 1/L. A and b are Gaussian, of the seed, A of spectral radius about 1; g = tanh. The
    equation is solved by scipy to a relative 1e-12. The scaling of b is ours, for one that does not shrink would move x
    without bound; the paper's own form was not at hand.
    """
    from scipy.integrate import solve_ivp

    draw = np.random.default_rng(seed)
    a, b, start = draw.normal(size=(size, size)) / np.sqrt(size), draw.normal(size=size), draw.normal(size=size)
    exact = solve_ivp(lambda _, x: a @ x + b + np.tanh(x), (0, 1), start, "DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    distances = []
    for count in layers.astype(int):
        x = start
        for _ in range(count):
            u = x + (a @ x + b) / count
            x = u + np.tanh(u) / count
        distances.append(float(np.linalg.norm(x - exact)))
    return np.array(distances)
