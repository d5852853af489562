"""Directions and coordinates in the space of weights: random ones, and those of lines and planes through points.

Random directions are Gaussian and filter-normalised (arXiv 1712.09913, section 4): of each filter, a row of a weight
along its first dimension, the direction has the norm of the filter itself. So the picture stays as it is where a filter
before batch norm is scaled, by which the function does not change. Biases and the weights of norms are not moved.
Differs from the paper: the second direction is made orthogonal to the first, filter by filter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..randomness import Purpose, derive_seed

Point = Sequence[Tensor]  # a tensor for each parameter


def random_directions(parameters: Sequence[Tensor], count: int = 2, seed: int = 0) -> list[list[Tensor]]:
    """Up to two filter-normalised Gaussian directions, float64: a function of the seed and the parameters' shapes.

    Of each filter, a row of p.flatten(1), direction i has the filter's norm and is orthogonal to those before it. A
    filter of a single number, where nothing is orthogonal, takes no part in the second. Parameters of fewer than two
    dimensions, biases and the weights of norms, have direction 0.

    Raises ValueError where all directions would be 0.
    """
    found: list[list[Tensor]] = []
    for i in range(count):
        generator = torch.Generator().manual_seed(derive_seed(seed, Purpose.LANDSCAPE, i))
        direction = []
        for place, p in enumerate(parameters):
            rows = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.device)
            direction.append(_normalized(rows, p.detach().double(), [other[place] for other in found]))
        found.append(direction)
    if found and not any(bool(each.any()) for each in found[0]):
        raise ValueError("no parameter has two dimensions or more, so there are no filters to move along")
    return found


def _normalized(direction: Tensor, p: Tensor, others: Sequence[Tensor]) -> Tensor:
    if p.dim() < 2:
        return torch.zeros_like(p)
    rows, filters = direction.flatten(1), p.flatten(1)
    for other in (each.flatten(1) for each in others):
        length = other.square().sum(1, keepdim=True)
        rows = rows - torch.where(length > 0, (rows * other).sum(1, keepdim=True) / length, 0) * other
    if others and rows.shape[1] == 1:  # what is left is rounding
        return torch.zeros_like(p)
    lengths = filters.norm(dim=1, keepdim=True) / rows.norm(dim=1, keepdim=True)
    normalized: Tensor = rows * lengths
    return normalized.reshape(p.shape)


def principal(
    steps: list[list[Tensor]], *, centred: bool
) -> tuple[list[list[Tensor]], list[tuple[float, ...]], tuple[float, ...]]:
    """Up to two orthonormal axes for the steps, the steps' coordinates, and each axis's share of the squared lengths.

    centred: the axes of the largest squared lengths; else the first leads along the first step (Gram-Schmidt).
    """
    gram = torch.tensor([[_dot(one, other) for other in steps] for one in steps], dtype=torch.float64)
    if centred:
        vectors = torch.linalg.eigh(gram).eigenvectors
        weights = [vectors[:, -1 - i] for i in range(min(2, len(steps)))]
    else:
        along = torch.zeros(len(steps), dtype=torch.float64)
        along[0] = 1.0
        across = -gram[0] / gram[0, 0] if gram[0, 0] > 0 else torch.zeros_like(along)
        weights = [along, torch.stack([across[1], torch.ones(())])]
    frame = []
    for weight in weights:
        axis = [sum((w * s for w, s in zip(weight.tolist(), parts, strict=True)), torch.zeros_like(parts[0]))
                for parts in zip(*steps, strict=True)]  # fmt: skip
        length = norm(axis)
        if length > 1e-10 * float(gram.diagonal().max()) ** 0.5 > 0:  # else rounding
            frame.append([each / length for each in axis])
    coordinates = [tuple(_dot(step, axis) for axis in frame) for step in steps]
    total = float(gram.diagonal().sum()) or 1.0
    shares = tuple(sum(place[i] ** 2 for place in coordinates) / total for i in range(len(frame)))
    return frame, coordinates, shares


def difference(place: Point, origin: Point) -> list[Tensor]:
    return [a - b for a, b in zip(place, origin, strict=True)]


def _dot(one: Point, other: Point) -> float:
    return float(sum(((a * b).sum() for a, b in zip(one, other, strict=True)), torch.zeros(())))


def norm(step: Point) -> float:
    return math.sqrt(_dot(step, step))


def line_axis(points: int, margin: float) -> Tensor:
    """So many coordinates in equal steps, 0 and 1 among them, and as many of them below 0 as above 1."""
    steps = points - 1
    wanted = steps / (1 + 2 * margin)  # of them between the ends: their number has the parity of `steps`
    if wanted < 1:
        raise ValueError(f"points={points} are too few for margin={margin:g}: take {math.ceil(2 + 2 * margin)} or more")
    between = min(range(2 - steps % 2, steps + 1, 2), key=lambda count: abs(count - wanted))
    beyond = (steps - between) // 2
    return torch.arange(-beyond, between + beyond + 1, dtype=torch.float64) / between


def plane_axes(marks: Mapping[str, tuple[float, ...]], points: int, margin: float) -> tuple[Tensor, ...]:
    """Coordinates that go beyond all marks by so much of their extent."""
    extents = [(min(column), max(column)) for column in zip(*marks.values(), strict=True)]
    beyond = margin * max(high - low for low, high in extents)
    return tuple(torch.linspace(low - beyond, high + beyond, points, dtype=torch.float64) for low, high in extents)
