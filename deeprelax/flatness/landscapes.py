"""The loss on lines and planes through the space of weights.

Random directions are Gaussian and filter-normalised (arXiv 1712.09913, section 4): of each filter, a row of a weight
along its first dimension, the direction has the norm of the filter itself. So the picture stays as it is where a filter
before batch norm is scaled, by which the function does not change. Biases and the weights of norms are not moved.
Differs from the paper: the second direction is made orthogonal to the first, filter by filter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ..randomness import Purpose, derive_seed

Point = Sequence[Tensor]  # a tensor for each parameter
Scored = Callable[[], Tensor | float | Mapping[str, float]]  # the loss, or scores by name, at the present weights


@dataclass(frozen=True)
class Landscape:
    """Values on a line or on a grid of a plane.

    Attributes:
        axes: coordinates, float64, one tensor for a line and two for a plane.
        values: by name, as "loss"; float64, of shape (n,) or (n, m) for axes of n and m coordinates.
        marks: by label, the coordinates of points of interest, as of the weights that it goes through.
        explained: of a plane through a trajectory, the share of the squared distances that lies in each axis.
    """

    axes: tuple[Tensor, ...]
    values: dict[str, Tensor]
    marks: dict[str, tuple[float, ...]]
    explained: tuple[float, ...] = ()


def landscape(
    loss: Scored, parameters: Iterable[Tensor], *, dimensions: int = 2, points: int = 25, span: float = 1.0,
    seed: int = 0, progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Landscape:  # fmt: skip
    """The loss around the present weights x, in x + a d_1 or x + a d_1 + b d_2 with `random_directions` of the seed.

    Args:
        loss: f at the parameters' present values, deterministic; called once at each point, without gradients.
        parameters: what is moved; those that require no gradient stay. They are x again afterwards, to the bit.
        dimensions: 1 for a line, 2 for a plane.
        points: on each axis; odd, so that x itself is one of them.
        span: a and b go from -span to span; 1 moves each filter by its own norm.
        seed: of the directions; the line is the first axis of the plane.
        progress: wraps the indices of the points, as tqdm does.

    Raises ValueError for a number of dimensions or points that is not so, and where no weight has a filter.
    """
    if dimensions not in (1, 2):
        raise ValueError(f"dimensions must be 1 or 2, not {dimensions}")
    if points < 3 or points % 2 == 0:
        raise ValueError(f"points must be an odd number >= 3, so that the weights themselves are one, not {points}")
    if not 0 < span < float("inf"):
        raise ValueError(f"span must be a finite number > 0, not {span}")
    moved = _trainable(parameters)
    half = points // 2
    axis = torch.arange(-half, half + 1, dtype=torch.float64) / half * span
    found = random_directions(moved, dimensions, seed)
    values = _on_grid(loss, moved, [p.detach().double() for p in moved], found, [axis] * dimensions, progress)
    return Landscape((axis,) * dimensions, values, {"x": (0.0,) * dimensions})


def between(
    loss: Scored, parameters: Iterable[Tensor], ends: Mapping[str, Point], *, points: int = 41,
    margin: float = 0.5, progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Landscape:  # fmt: skip
    """The loss on the line through two points in the space of weights, or on the plane that three span.

    On a line the coordinate is t of a + t (b - a): a lies at 0, b at 1, and both are among the points. On a plane they
    are distances, in the first point's frame: the first axis leads to the second point.

    Args:
        loss, parameters, progress: as of `landscape`.
        ends: two or three points by their labels, each a tensor for each of the parameters.
        points: on a line, at least; on each axis of a plane.
        margin: how far to go beyond the ends, in units of their distance.

    Raises ValueError for another number of points, for shapes that differ, and where they lie on each other or, three,
    on one line.
    """
    places = [[each.detach().double() for each in end] for end in ends.values()]
    moved = list(parameters)
    if len(places) not in (2, 3):
        raise ValueError(f"two points make a line and three a plane, not {len(places)}")
    if any([each.shape for each in place] != [p.shape for p in moved] for place in places):
        raise ValueError("the points must have the shapes of the parameters")
    origin, steps = places[0], [_difference(place, places[0]) for place in places[1:]]
    labels = list(ends)
    if len(places) == 2:
        if _norm(steps[0]) == 0:
            raise ValueError(f"{labels[0]} and {labels[1]} have the same weights: there is no line between them")
        each = max(1, round((points - 1) / (1 + 2 * margin)))  # steps from one end to the other
        beyond = round(each * margin)
        axis = torch.arange(-beyond, each + beyond + 1, dtype=torch.float64) / each
        values = _on_grid(loss, moved, origin, steps, [axis], progress)
        return Landscape((axis,), values, {labels[0]: (0.0,), labels[1]: (1.0,)})
    frame, coordinates, _ = _principal(steps, centred=False)
    if len(frame) < 2:
        raise ValueError(f"{', '.join(labels)} lie on one line: they span no plane")
    marks = dict(zip(labels, [(0.0, 0.0), *coordinates], strict=True))
    axes = _axes(marks, points, margin)
    return Landscape(axes, _on_grid(loss, moved, origin, frame, axes, progress), marks)


def trajectory(
    loss: Scored, parameters: Iterable[Tensor], path: Mapping[str, Point], *, points: int = 25, margin: float = 0.2,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Landscape:  # fmt: skip
    """The loss on the plane of the two principal components of a path's distances from its last point.

    Source: arXiv 1712.09913, section 7. The marks are the path, projected; only its last point lies in the plane.

    Args:
        loss, parameters, progress: as of `landscape`.
        path: at least three points by their labels in order, each a tensor for each of the parameters.
        points: on each axis.
        margin: how far to go beyond the path, in units of its extent.

    Raises ValueError for fewer points, and where they lie on one line.
    """
    places = [[each.detach().double() for each in place] for place in path.values()]
    if len(places) < 3:
        raise ValueError(f"a trajectory needs at least three points, not {len(places)}")
    frame, coordinates, shares = _principal([_difference(place, places[-1]) for place in places[:-1]], centred=True)
    if len(frame) < 2:
        raise ValueError("the points of the trajectory lie on one line: they span no plane")
    marks = dict(zip(path, [*coordinates, (0.0, 0.0)], strict=True))
    axes = _axes(marks, points, margin)
    return Landscape(axes, _on_grid(loss, list(parameters), places[-1], frame, axes, progress), marks, shares)


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


def _trainable(parameters: Iterable[Tensor]) -> list[Tensor]:
    return [p for p in parameters if p.requires_grad]


def _difference(place: Point, origin: Point) -> list[Tensor]:
    return [a - b for a, b in zip(place, origin, strict=True)]


def _dot(one: Point, other: Point) -> float:
    return float(sum(((a * b).sum() for a, b in zip(one, other, strict=True)), torch.zeros(())))


def _norm(step: Point) -> float:
    return math.sqrt(_dot(step, step))


def _principal(
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
        length = _norm(axis)
        if length > 1e-10 * float(gram.diagonal().max()) ** 0.5 > 0:  # else rounding
            frame.append([each / length for each in axis])
    coordinates = [tuple(_dot(step, axis) for axis in frame) for step in steps]
    total = float(gram.diagonal().sum()) or 1.0
    shares = tuple(sum(place[i] ** 2 for place in coordinates) / total for i in range(len(frame)))
    return frame, coordinates, shares


def _axes(marks: Mapping[str, tuple[float, ...]], points: int, margin: float) -> tuple[Tensor, ...]:
    """Coordinates that go beyond all marks by so much of their extent."""
    extents = [(min(column), max(column)) for column in zip(*marks.values(), strict=True)]
    beyond = margin * max(high - low for low, high in extents)
    return tuple(torch.linspace(low - beyond, high + beyond, points, dtype=torch.float64) for low, high in extents)


@torch.no_grad()
def _on_grid(
    loss: Scored, moved: Sequence[Tensor], origin: Point, steps: Sequence[Point], axes: Sequence[Tensor],
    progress: Callable[[Iterable[int]], Iterable[int]],
) -> dict[str, Tensor]:  # fmt: skip
    """All values at origin + a steps[0] + b steps[1]. In float64, then rounded: at 0 it is the origin, to the bit."""
    grid = torch.cartesian_prod(*axes).reshape(-1, len(axes))
    rows: list[dict[str, float]] = []
    origin = [o.clone() for o in origin]  # which may be the parameters themselves
    with _restored(moved):
        for i in progress(range(len(grid))):
            place = [o.clone() for o in origin]
            for coordinate, step in zip(grid[i].tolist(), steps, strict=True):
                torch._foreach_add_(place, list(step), alpha=coordinate)
            for p, there in zip(moved, place, strict=True):
                p.copy_(there)
            found = loss()
            rows.append(dict(found) if isinstance(found, Mapping) else {"loss": float(found)})
    shape = [len(axis) for axis in axes]
    return {key: torch.tensor([row[key] for row in rows], dtype=torch.float64).reshape(shape) for key in rows[0]}


@contextmanager
def _restored(moved: Sequence[Tensor]) -> Iterator[None]:
    before = [p.detach().clone() for p in moved]
    try:
        yield
    finally:
        for p, there in zip(moved, before, strict=True):
            p.copy_(there)
