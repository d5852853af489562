"""How much the loss rises around the weights: on average over random steps, and at worst within a ball."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .loss import BatchedLoss, Loss, numbers
from .spectrum import interval


@dataclass(frozen=True)
class Kind:
    """A measure: its default size sigma or rho, how steps are scaled, and whether the paper's is invariant.

    invariant: does the number stay if a filter before batch norm, its bias included, is scaled, by which the function
    does not change?
    """

    size: float
    scale: str
    invariant: bool
    source: str


KINDS = {
    "isotropic": Kind(0.01, "ones", False, "arXiv 1706.08947"),
    "filter": Kind(0.02, "filter", True, "arXiv 2201.08025"),
    "multiplicative": Kind(0.1, "absolute", True, "arXiv 2006.07897"),
    "sam": Kind(0.05, "ones", False, "arXiv 2010.01412"),
    "ball": Kind(0.05, "ones", False, "arXiv 2010.01412"),
    "adaptive_l2": Kind(0.5, "absolute", True, "arXiv 2102.11600"),
    "adaptive_linf": Kind(0.01, "absolute", True, "arXiv 2302.07011"),
}
ENDED = 0.01  # of a rise: what an ascent that has ended may still promise
AVERAGE = ("isotropic", "filter", "multiplicative")


@dataclass(frozen=True)
class Sharpness:
    """A rise of the loss.

    Attributes:
        value: in units of the loss.
        low, high: 95 % interval by Student's t over n pairs of random steps; None for the worst case, whose value is a
            lower bound of the maximum.
        n: pairs of random steps; 0 for the worst case.
        size: sigma of an average, rho of a worst case.
        invariant: as `Kind` has it.
        converged: for an ascent: does the slope at its end promise under a hundredth of the value more within the ball?
            Then it is at a local maximum, or next to one. True for all others.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    size: float
    invariant: bool
    converged: bool = True


def sharpness(
    loss: Loss, parameters: Iterable[Tensor], kind: str = "filter", size: float | None = None, *, samples: int = 50,
    steps: int = 20, seed: int = 0,
) -> Sharpness:  # fmt: skip
    """The rise of f around the present weights x, by one of these definitions; z ~ N(0, I), w the weights' own sizes.

    On average, E f(x + e) - f(x), by pairs of steps e and -e; tr(A S)/2 for a Hessian A and steps of covariance S:

    - "isotropic": e = sigma z (the expected sharpness of arXiv 1706.08947).
    - "filter": e = sigma norm(filter) z, the measure of LPF-SGD (arXiv 2201.08025) without f(x). A filter is a row of a
      weight along its first dimension; of tensors with one dimension each number is one. Differs from the paper, which
      takes these tensors whole: then the bias of one filter sets the noise of another's, and nothing is invariant.
    - "multiplicative": e = sigma abs(x) z, the local energy of arXiv 2006.07897, of the loss (there of the error).

    At worst, max f(x + e) - f(x), the difference itself, divided by nothing:

    - "sam": over one step of SAM, e = rho g/norm(g), g = grad f (arXiv 2010.01412).
    - "ball": over norm(e) <= rho (arXiv 2010.01412), by ascent.
    - "adaptive_l2": over norm(e / abs(x)) <= rho, ASAM's ball (arXiv 2102.11600, elementwise), by ascent.
    - "adaptive_linf": over abs(e_i) <= rho abs(x_i) (arXiv 2302.07011), by ascent.

    "filter", "multiplicative" and both adaptive ones stay as they are if a filter before batch norm is scaled with its
    bias; "isotropic", "sam" and "ball" do not. An ascent goes from the step of SAM to the point of the ball farthest
    along the gradient there, and on from it; where f falls it goes less far. It finds the maximum over the ball of a
    quadratic, in enough steps; of a network, and over the box, a local one, a lower bound of the maximum.

    Args:
        loss, parameters: see `BatchedLoss`. The parameters are moved, and are x again afterwards, to the bit.
        kind: one of the above.
        size: sigma or rho; by default 0.01, 0.02, 0.1 in the order of the averages, 0.05, 0.05, 0.5, 0.01 of the rest.
        samples: pairs of random steps, two evaluations each, at least 2.
        steps: gradients that an ascent may take.
        seed: of the random steps, and of the ascent's first where the gradient is 0.

    Raises ValueError for another kind, and sizes, samples or steps that are too small.
    """
    return measured(BatchedLoss(loss, parameters), kind, size, samples=samples, steps=steps, seed=seed)


def measured(
    loss: BatchedLoss, kind: str, size: float | None = None, *, samples: int = 50, steps: int = 20, seed: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> Sharpness:  # fmt: skip
    """As `sharpness`; `progress` is called after each pair or gradient."""
    if kind not in KINDS:
        raise ValueError(f"there is no sharpness {kind!r}: take one of {', '.join(KINDS)}")
    known = KINDS[kind]
    size = known.size if size is None else size
    if not 0 < size < float("inf"):
        raise ValueError(f"size={size} is out of range: it must be a finite number > 0")
    if samples < 2 or steps < 1:
        raise ValueError(f"samples={samples}, steps={steps} are out of range: at least 2 and 1")
    scale, generator = scales(loss, known.scale), numbers(seed, kind)
    if kind in AVERAGE:
        rises = _random(loss, size * scale, samples, generator, progress)
        return Sharpness(*interval(rises), samples, size, known.invariant)
    if kind == "sam":
        before, gradient = loss.value_and_gradient()
        with loss.shifted() as shift:
            shift(size * gradient / (gradient.norm() if bool(gradient.any()) else 1.0))
            return Sharpness(loss.value() - before, None, None, 0, size, known.invariant)
    value, converged = _ascent(loss, scale, size, kind == "adaptive_linf", steps, generator, progress)
    return Sharpness(value, None, None, 0, size, known.invariant, converged)


def scales(loss: BatchedLoss, kind: str) -> Tensor:
    """What each coordinate of a step is multiplied with, (d,)."""
    if kind == "ones":
        return torch.ones(loss.d, dtype=loss.dtype, device=loss.device)
    pieces = []
    for p in loss.parameters:
        size = p.detach().abs()
        if kind == "filter" and p.ndim > 1:
            norms = p.detach().flatten(1).norm(dim=1)
            size = norms.view(-1, *[1] * (p.ndim - 1)).expand_as(p)
        pieces.append(size)
    return loss.flat(pieces)


def _random(
    loss: BatchedLoss, deviations: Tensor, samples: int, generator: torch.Generator, progress: Callable[[], None]
) -> Tensor:
    """(f(x + e) + f(x - e))/2 - f(x) of each random step, (samples,): without what is linear in e, which has mean 0."""
    before, rises = loss.value(), []
    with loss.shifted() as shift:
        for _ in range(samples):
            e = torch.randn(loss.d, generator=generator, dtype=torch.float64).to(loss.device, loss.dtype) * deviations
            sides = []
            for sign in (1, -1):
                shift(sign * e)
                sides.append(loss.value() - before)
            rises.append(sum(sides) / 2)
            progress()
    return torch.tensor(rises, dtype=torch.float64)


def _ascent(
    loss: BatchedLoss, scale: Tensor, rho: float, box: bool, steps: int, generator: torch.Generator,
    progress: Callable[[], None],
) -> tuple[float, bool]:  # fmt: skip
    """The largest rise found at x + scale s with norm(s) <= rho, and whether the ascent has ended.

    s <- the projection of s + slope/mu on the ball: f does not fall where its curvature is above -mu. At mu = 0 that is
    the point of the ball farthest along the slope (a generalised power iteration: Journee et al., JMLR 11, 2010). mu
    grows from the curvature that a fall shows. The ascent has ended where the slope promises no more within the ball:
    max slope'(e - s) over norm(e) <= rho, the gap of Frank and Wolfe (arXiv 1607.00345), is small.
    """

    def farthest(direction: Tensor) -> Tensor:
        return rho * torch.where(direction == 0, s / rho, direction.sign()) if box else rho * _unit(direction)

    def projected(point: Tensor) -> Tensor:
        return point.clamp(-rho, rho) if box else point * min(1.0, rho / max(float(point.norm()), rho))

    before, gradient = loss.value_and_gradient()
    s, slope = loss.flat(loss.zeros()), scale * gradient
    rise, mu, rounding = 0.0, 0.0, torch.finfo(loss.dtype).eps
    chance = not bool(slope.any())  # then the first point is a random one, whether f rises there or falls
    if chance:
        slope = torch.randn(loss.d, generator=generator, dtype=torch.float64).to(loss.device, loss.dtype)
    gap = math.inf
    with loss.shifted() as shift:
        for _ in range(steps):
            there = projected(s + slope / mu) if mu else farthest(slope)
            shift(scale * there)
            value, gradient = loss.value_and_gradient()
            progress()
            found, step = value - before, there - s
            if found > rise or chance:
                rise, s, slope, mu, chance = found, there, scale * gradient, mu / 2, False
                gap = float((rho * slope.abs().sum() if box else rho * slope.norm()) - slope @ s)
                if gap <= rounding * (abs(before) + abs(rise)):
                    break
            else:
                fall = 2 * (float(slope @ step) - (found - rise)) / float(step @ step) if bool(step.any()) else 0.0
                mu = max(4 * mu, fall if math.isfinite(fall) else 0.0, float(slope.norm()) / rho * 1e-3)
    return max(0.0, rise), gap <= ENDED * max(0.0, rise)


def _unit(direction: Tensor) -> Tensor:
    return direction / direction.norm() if bool(direction.any()) else direction
