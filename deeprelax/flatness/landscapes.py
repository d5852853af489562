"""The loss on lines and planes through the space of weights; `directions.py` says which."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from .directions import Point, difference, line_axis, norm, plane_axes, principal, random_directions
from .loss import BatchedLoss, Closure, tensors

Score = Callable[[], Tensor | float | Mapping[str, float]]  # the loss, or scores by name, at the present weights
Scored = Score | Iterable[tuple[float, Closure]]  # or batch losses with their weights, as `BatchedLoss` takes them


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
        loss: f at the parameters' present values, deterministic; called once at each point, without gradients. Or
            scores by name, or pairs of weight and batch loss, whose weighted mean is taken.
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
    moved = [p for p in tensors(parameters) if p.requires_grad]
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
        points: on the line, or on each axis of the plane; at least 2.
        margin: how far to go beyond the ends, in units of their distance; on a line so nearly as the ends, which are
            among the points, and as many points on either side allow.

    Raises ValueError for another number of ends, for shapes that differ, where they lie on each other or, three, on one
    line, and for fewer points than 2 or, on a line, than 2 + 2 margin.
    """
    places = [[each.detach().double() for each in end] for end in ends.values()]
    moved = tensors(parameters)
    if len(places) not in (2, 3):
        raise ValueError(f"two points make a line and three a plane, not {len(places)}")
    if any([each.shape for each in place] != [p.shape for p in moved] for place in places):
        raise ValueError("the points must have the shapes of the parameters")
    origin, steps = places[0], [difference(place, places[0]) for place in places[1:]]
    labels = list(ends)
    _check_points(points, margin)
    if len(places) == 2:
        if norm(steps[0]) == 0:
            raise ValueError(f"{labels[0]} and {labels[1]} have the same weights: there is no line between them")
        axis = line_axis(points, margin)
        values = _on_grid(loss, moved, origin, steps, [axis], progress)
        return Landscape((axis,), values, {labels[0]: (0.0,), labels[1]: (1.0,)})
    frame, coordinates, _ = principal(steps, centred=False)
    if len(frame) < 2:
        raise ValueError(f"{', '.join(labels)} lie on one line: they span no plane")
    marks = dict(zip(labels, [(0.0, 0.0), *coordinates], strict=True))
    axes = plane_axes(marks, points, margin)
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
        points: on each axis, at least 2.
        margin: how far to go beyond the path, in units of its extent.

    Raises ValueError for a path of fewer points, or whose points lie on one line, and for fewer than 2 on an axis.
    """
    places = [[each.detach().double() for each in place] for place in path.values()]
    if len(places) < 3:
        raise ValueError(f"a trajectory needs at least three points, not {len(places)}")
    _check_points(points, margin)
    frame, coordinates, shares = principal([difference(place, places[-1]) for place in places[:-1]], centred=True)
    if len(frame) < 2:
        raise ValueError("the points of the trajectory lie on one line: they span no plane")
    marks = dict(zip(path, [*coordinates, (0.0, 0.0)], strict=True))
    axes = plane_axes(marks, points, margin)
    return Landscape(axes, _on_grid(loss, tensors(parameters), places[-1], frame, axes, progress), marks, shares)


def _check_points(points: int, margin: float) -> None:
    if points < 2:
        raise ValueError(f"points must be an integer >= 2, not {points}")
    if not 0 <= margin < math.inf:
        raise ValueError(f"margin must be a finite number >= 0, not {margin}")


@torch.no_grad()
def _on_grid(
    loss: Scored, moved: Sequence[Tensor], origin: Point, steps: Sequence[Point], axes: Sequence[Tensor],
    progress: Callable[[Iterable[int]], Iterable[int]],
) -> dict[str, Tensor]:  # fmt: skip
    """All values at origin + a steps[0] + b steps[1]. In float64, then rounded: at 0 it is the origin, to the bit."""
    scores = loss if callable(loss) else BatchedLoss(loss, moved).value
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
            found = scores()
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
