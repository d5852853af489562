"""Local entropy, the relaxed loss itself, at given weights: by thermodynamic integration over gamma."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .curvature import Curvature
from .loss import BatchedLoss, Loss, numbers
from .spectrum import eigenvalues
from .thermodynamic import BATCHES, Slope, averaged, panels, reach, rule

GRADIENTS = 3  # of a step: two of the fine chain, one of the coarse one


@dataclass(frozen=True)
class Point:
    """u(x, gamma) at one gamma.

    Attributes:
        gamma: of the paper, larger is smoother.
        value: u, in units of the loss; nan where the chains did not converge, and beyond.
        error: half of the width of its 95 % interval, without the rule's own, up to a thousandth of u - f. At
            temperature 0 how far value is above the least, if f is convex there, by the force that is left.
        effective: independent samples, the least over the chains that this gamma needed beyond the one before;
            infinite at temperature 0, where none is drawn.
        converged: do all chains up to here have enough of them, and did none drift?
        reason: why not, in words.
    """

    gamma: float
    value: float
    error: float
    effective: float
    converged: bool
    reason: str = ""


@dataclass(frozen=True)
class LocalEntropy:
    """u(x, gamma): `value`, `error` and `converged` of the last point of the curve, which leads there from f(x)."""

    curve: list[Point]
    gradients: int

    @property
    def value(self) -> float:
        return self.curve[-1].value

    @property
    def error(self) -> float:
        return self.curve[-1].error

    @property
    def converged(self) -> bool:
        return self.curve[-1].converged


def local_entropy(
    loss: Loss, parameters: Iterable[Tensor], *, gamma: float | Sequence[float], temperature: float, seed: int = 0,
    steps: int = 64, gradients: int = 100_000,
) -> LocalEntropy:  # fmt: skip
    """u(x, gamma) = -T log E exp(-f(y)/T), y ~ N(x, gamma T I): the loss that Entropy-SGD descends, at the weights x.

    It solves the viscous Hamilton-Jacobi equation (arXiv 1704.04932, section 3), is f(x) at gamma = 0, and at T = 0 the
    Moreau envelope min_y f(y) + |x - y|^2/(2 gamma), here by descent from x: where f is not convex, of the valley that
    x lies in, an upper bound of the least over all y. On a quadratic with Hessian A, T/2 log det(I + gamma A) of it is
    the valley's width.

    For T > 0 by thermodynamic integration, u(x, gamma) = f(x) + int_0^gamma du/dgamma, with

        du/dgamma = d T/(2 gamma) - <|x - y|^2>/(2 gamma^2) = <(y - x) . grad f(y)>/(2 gamma)

    under the Gibbs density exp(-f(y)/T - |x - y|^2/(2 gamma T)); the second form, which integration by parts gives, is
    no small difference of large numbers. Chains of full gradients sample it with the steps of Leimkuhler and Matthews
    (arXiv 1203.5428), y <- y - h [grad f(y) + (y - x)/gamma] + sqrt(h T/2) (xi_n + xi_(n+1)), whose law is exact for
    the spring and for every quadratic f at any stable h. What is left of the bias, of order h^2 and from curvature that
    changes, is extrapolated from a second chain of steps h/2 with the same noise. Gauss and Legendre's rule integrates,
    in panels over which gamma grows fourfold at most. Averages are over batch means, with the control variate
    (grad f(y) + (y - x)/gamma) . grad f(x), whose mean is 0. Slow directions, of curvature 1/gamma and less, need some
    gamma lambda_max steps, and so many more are taken.

    Args:
        loss, parameters: see `BatchedLoss`. The parameters are moved, and are x again afterwards, to the bit.
        gamma: the time of the equation, 1/stiffness of the Entropy-SGD paper; several: the curve has each of them.
        temperature: T = 1/beta.
        seed: of the noise.
        steps: of each chain, more of them from gamma lambda_max = 1 on, in proportion; at least 48.
        gradients: that may be taken; the curve ends before the gamma that would need more.

    Raises ValueError for a gamma that is not positive, a negative temperature, and too few steps.
    """
    gammas = [gamma] if isinstance(gamma, int | float) else list(gamma)
    return curve(BatchedLoss(loss, parameters), gammas, temperature, seed, steps=steps, gradients=gradients)


def curve(
    loss: BatchedLoss, gammas: Sequence[float], temperature: float, seed: int = 0, *, steps: int = 64,
    gradients: int = 100_000, progress: Callable[[int], None] = lambda _: None,
) -> LocalEntropy:  # fmt: skip
    """As `local_entropy`; `progress` is called with the number of gradients that were taken."""
    gammas = sorted(set(map(float, gammas)))
    if not gammas or not 0 < gammas[0] <= gammas[-1] < math.inf:
        raise ValueError(f"gamma={gammas} is out of range: it must be positive and finite")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature={temperature} is out of range: it must be a finite number >= 0")
    if steps < 4 * BATCHES:
        raise ValueError(f"steps={steps} is out of range: it must be an integer of {4 * BATCHES} or more")
    product = Curvature(loss)
    ends = [
        eigenvalues(product, 1, seed, smallest=low, tolerance=1e-2).values.abs().nan_to_num() for low in (False, True)
    ]
    stiffest = float(torch.cat(ends).max())
    del product  # and the graphs that it keeps
    walk = _Walk(loss, temperature, stiffest, steps, gradients, numbers(seed, "entropy"), progress)
    points = walk.envelope(gammas) if temperature == 0 else walk.integral(gammas)
    return LocalEntropy(points, walk.taken)


class _Walk:
    """A chain that goes from the smallest gamma to the largest, each node beginning where the one before ended."""

    def __init__(
        self, loss: BatchedLoss, temperature: float, stiffest: float, steps: int, most: int,
        generator: torch.Generator, progress: Callable[[int], None],
    ) -> None:  # fmt: skip
        self.loss, self.temperature, self.stiffest = loss, temperature, stiffest
        self.steps, self.most, self.generator, self.progress = steps, most, generator, progress
        self.start, self.gradient = loss.value_and_gradient()
        self.taken = 1
        self.e, self.gamma = torch.zeros_like(self.gradient), 0.0  # y - x, and the gamma that it belongs to

    def integral(self, gammas: Sequence[float]) -> list[Point]:
        """The curve at temperature > 0: u at each gamma, by one panel after the other."""
        u, before = self.start, 0.0
        variances: list[tuple[float, float]] = []
        points: list[Point] = []
        with self.loss.shifted() as self.shift:
            for gamma in gammas:
                effective, reason = math.inf, ""
                for left, right in panels(before, gamma, self.stiffest):
                    for node, weight in rule(left, right):
                        slope = self._slope(node)
                        u += weight * slope.value
                        variances.append(((weight * slope.error) ** 2, slope.freedom))
                        effective, reason = min(effective, slope.effective), slope.reason
                        if reason:
                            return [*points, Point(gamma, math.nan, math.nan, effective, False, reason)]
                points.append(Point(gamma, u, reach(variances), effective, True))
                before = gamma
        return points

    def envelope(self, gammas: Sequence[float]) -> list[Point]:
        """The curve at temperature 0: the least of f(y) + |x - y|^2/(2 gamma), by gradient steps from the last y."""
        points: list[Point] = []
        with self.loss.shifted() as self.shift:
            small = self._small()
            for gamma in gammas:
                step, value, size = self._step(gamma) / 2, math.nan, math.inf
                for _ in range(min(20 * self._length(gamma), self.most - self.taken)):
                    found, gradient = self._at(self.e)
                    force = gradient + self.e / gamma
                    value, size = found + float(self.e.double().square().sum()) / (2 * gamma), float(force.norm())
                    if not size > small:
                        break
                    self.e = self.e - step * force
                if not size <= small:
                    return [*points, Point(gamma, math.nan, math.nan, math.inf, False, self._unfinished(value))]
                points.append(Point(gamma, value, gamma * size**2 / 2, math.inf, True))
        return points

    def _small(self) -> float:
        """The force at which a descent has ended: in proportion to the gradient, and above what rounding of y makes."""
        part = 1e-9 if self.loss.dtype == torch.float64 else 1e-4
        x = math.sqrt(sum(float(p.detach().double().square().sum()) for p in self.loss.parameters))
        return max(part * float(self.gradient.norm()), torch.finfo(self.loss.dtype).eps * self.stiffest * x)

    def _unfinished(self, value: float) -> str:
        if self.taken >= self.most:
            return f"the descent to the prox point has not ended after {self.most} gradients"
        return "the descent to the prox point has not ended: more steps" if math.isfinite(value) else BAD

    def _at(self, e: Tensor) -> tuple[float, Tensor]:
        self.shift(e)
        self.taken += 1
        self.progress(1)
        return self.loss.value_and_gradient()

    def _step(self, gamma: float) -> float:
        """Of the coarse chain: 1 over the largest curvature; 2 would be unstable."""
        return 1 / (self.stiffest + 1 / gamma)

    def _length(self, gamma: float) -> int:
        return math.ceil(self.steps * max(1.0, (1 + gamma * self.stiffest) / 2))

    def _slope(self, gamma: float) -> Slope:
        length = self._length(gamma)
        self.e = self.e + self._noise() * math.sqrt((gamma - self.gamma) * self.temperature)  # exact where f is flat
        self.gamma, rows, found = gamma, np.empty((0, 2)), Slope(math.nan, math.nan, 1, 0, "not begun")
        for more in (length + length // 4, length, 2 * length):
            if self.taken + GRADIENTS * more > self.most:
                told = f"{found.reason}, and " if len(rows) else ""
                return Slope(math.nan, math.nan, 1, found.effective, f"{told}it would take over {self.most} gradients")
            rows = np.concatenate([rows, self._chains(gamma, more)])
            if not np.isfinite(rows).all():
                return Slope(math.nan, math.nan, 1, 0, BAD)
            found = averaged(*rows[length // 4 :].T)  # without what it takes to forget where the chain began
            if not found.reason:
                break
        return found

    def _chains(self, gamma: float, length: int) -> np.ndarray:
        """(length, 2): <(y - x) . grad f(y)>/(2 gamma) without its bias of order h^2, and the control."""
        h, fine, coarse = self._step(gamma), self.e, self.e
        noise, rows = [self._noise(), self._noise()], []
        size = math.sqrt(h * self.temperature / 4)  # of a fine step, whose length is h/2
        for _ in range(length):
            noise += [self._noise(), self._noise()]
            products, control = 0.0, 0.0
            for i in range(2):
                gradient = self._at(fine)[1]
                force = gradient + fine / gamma
                products += _dot(fine, gradient)
                control += _dot(force, self.gradient)
                fine = fine - h / 2 * force + size * (noise[i] + noise[i + 1])
            gradient = self._at(coarse)[1]
            rows.append(((4 * products / 2 - _dot(coarse, gradient)) / 3 / (2 * gamma), control))
            coarse = coarse - h * (gradient + coarse / gamma) + size * torch.stack(noise).sum(0)
            noise = noise[2:]
        self.e = fine
        return np.array(rows)

    def _noise(self) -> Tensor:
        drawn = torch.randn(self.loss.d, generator=self.generator, dtype=self.loss.dtype)
        return drawn.to(self.loss.device)


BAD = "the chain has left all finite numbers: the curvature elsewhere is larger than at the weights"


def _dot(one: Tensor, other: Tensor) -> float:
    return float(one.double() @ other.double())
