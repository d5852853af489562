"""Landscapes against exact answers: quadratics, invariances, and points that must be what they are."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from deeprelax.flatness import between, landscape, trajectory
from deeprelax.flatness.directions import random_directions

Weights = list[Tensor]


def quadratic(shapes: list[tuple[int, ...]], seed: int = 0) -> tuple[list[nn.Parameter], Tensor]:
    """Parameters in float64 and a symmetric A of their dimension."""
    generator = torch.Generator().manual_seed(seed)
    parameters = [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in shapes]
    n = sum(p.numel() for p in parameters)
    root = torch.randn(n, n, generator=generator, dtype=torch.float64)
    return parameters, root @ root.T / n


def flat(point: list[Tensor]) -> Tensor:
    return torch.cat([each.detach().reshape(-1).double() for each in point])


def value(parameters: list[nn.Parameter], a: Tensor) -> Tensor:
    x = flat(list(parameters))
    return x @ a @ x / 2


def small_network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3, eps=1e-12), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)
    ).double()


@pytest.mark.parametrize("dimensions", [1, 2])
def test_a_quadratic_is_an_exact_paraboloid(dimensions: int) -> None:
    parameters, a = quadratic([(3, 4), (4,), (2, 2, 2)])
    before = [p.detach().clone() for p in parameters]
    found = landscape(lambda: value(parameters, a), parameters, dimensions=dimensions, points=5, span=0.7, seed=3)
    directions = [flat(d) for d in random_directions(parameters, dimensions, seed=3)]
    for index in torch.cartesian_prod(*[torch.arange(5)] * dimensions).reshape(-1, dimensions).tolist():
        steps = [axis[i] * d for axis, i, d in zip(found.axes, index, directions, strict=True)]
        x = flat(before) + torch.stack(steps).sum(0)
        assert float(found.values["loss"][tuple(index)]) == pytest.approx(float(x @ a @ x / 2), rel=1e-12)
    assert all(torch.equal(p, there) for p, there in zip(parameters, before, strict=True))
    centre = (2,) * dimensions
    assert float(found.values["loss"][centre]) == float(value(parameters, a))  # to the bit


def test_directions_are_normalised_orthogonal_seeded_and_no_coordinate_is_preferred() -> None:
    parameters = [
        nn.Parameter(torch.randn(50, 40)),
        nn.Parameter(torch.randn(50)),
        nn.Parameter(torch.randn(6, 4, 3, 3)),
    ]
    first, second = random_directions(parameters, 2, seed=5)
    for p, d, e in zip(parameters, first, second, strict=True):
        if p.dim() < 2:
            assert not d.any()
            assert not e.any()
            continue
        for rows in (d, e):
            assert torch.allclose(rows.flatten(1).norm(dim=1), p.detach().double().flatten(1).norm(dim=1), rtol=1e-12)
        assert float((d.flatten(1) * e.flatten(1)).sum(1).abs().max()) < 1e-12
    again = random_directions(parameters, 2, seed=5)
    assert all(torch.equal(a, b) for a, b in zip(first + second, again[0] + again[1], strict=True))
    assert not torch.equal(first[0], random_directions(parameters, 2, seed=6)[0][0])
    # 2,000 signs: their mean has a standard deviation of 0.022; 5 of them are missed once in 1.7 million
    assert abs(float(first[0].sign().mean())) < 5 / math.sqrt(2000)


def test_filters_of_one_number_leave_the_second_direction() -> None:
    parameters = [nn.Parameter(torch.randn(4, 1)), nn.Parameter(torch.randn(4, 3))]
    first, second = random_directions(parameters)
    assert torch.allclose(first[0].abs(), parameters[0].detach().double().abs(), rtol=1e-12)
    assert not second[0].any()
    with pytest.raises(ValueError, match="no filters to move along"):
        random_directions([nn.Parameter(torch.randn(4))])


def test_a_filter_before_batch_norm_may_be_scaled() -> None:
    """The function is the same, and so is its landscape; unnormalised directions would show a flatter one."""
    network, images = small_network(), torch.randn(16, 2, 4, 4, dtype=torch.float64)
    labels = torch.arange(16) % 4
    scaled = copy.deepcopy(network)
    with torch.no_grad():
        scaled[0].weight[1] *= 10  # type: ignore[index,operator]

    def loss(model: nn.Module) -> Tensor:
        return nn.functional.cross_entropy(model(images), labels)  # batch norm by this batch

    found = [
        landscape(lambda model=model: loss(model), model.parameters(), points=5).values["loss"]  # type: ignore[misc]
        for model in (network, scaled)
    ]
    assert torch.allclose(found[0], found[1], rtol=1e-9)
    assert float(found[0].max() - found[0].min()) > 0.01


def test_batches_that_are_weighted_by_their_sizes() -> None:
    """The same landscape as that of all examples at once; one that is not deterministic is refused."""
    torch.manual_seed(2)
    network = nn.Linear(3, 2).double()
    x, y = torch.randn(7, 3).double(), torch.randint(2, (7,))
    parts = [(float(len(a)), lambda a=a, b=b: nn.functional.cross_entropy(network(a), b))
             for a, b in zip(x.split(4), y.split(4), strict=True)]  # fmt: skip
    found = landscape(parts, network.parameters(), points=3)  # type: ignore[arg-type]
    whole = landscape(lambda: nn.functional.cross_entropy(network(x), y), network.parameters(), points=3)
    assert torch.allclose(found.values["loss"], whole.values["loss"], rtol=1e-12)
    with pytest.raises(ValueError, match="deterministic"):
        landscape([(1.0, lambda: network(x).sum() * torch.rand(()))], network.parameters(), points=3)
    with pytest.raises(ValueError, match="without names"):
        landscape(lambda: 0.0, network.named_parameters(), points=3)  # type: ignore[arg-type]


def test_a_line_has_both_ends_to_the_bit() -> None:
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(3))]
    other = [torch.randn(3, 2) * 1e-3, torch.randn(3)]
    seen: list[Weights] = []

    def loss() -> dict[str, float]:
        seen.append([p.detach().clone() for p in parameters])
        return {"loss": float(flat(list(parameters)).square().sum()), "error": 1.0}

    ends = {"a": [p.detach().clone() for p in parameters], "b": other}
    found = between(loss, parameters, ends, points=9, margin=0.5)
    axis = found.axes[0].tolist()
    for label, end in ends.items():
        place = axis.index(found.marks[label][0])
        assert all(torch.equal(p, q) for p, q in zip(seen[place], end, strict=True))
    assert axis == [-0.5, -0.25, 0, 0.25, 0.5, 0.75, 1, 1.25, 1.5]
    assert set(found.values) == {"loss", "error"}
    middle = (flat(ends["a"]) + flat(other)) / 2
    assert float(found.values["loss"][4]) == pytest.approx(float(middle.square().sum()), rel=1e-6)


@pytest.mark.parametrize("points", [2, 3, 4, 5, 9, 10, 41, 51])
@pytest.mark.parametrize("margin", [0.0, 0.25, 0.5, 3.0])
def test_a_line_has_so_many_points_and_goes_about_so_far(points: int, margin: float) -> None:
    parameters = [nn.Parameter(torch.zeros(2))]
    ends = {"a": [torch.zeros(2)], "b": [torch.ones(2)]}
    if points < 2 + 2 * margin:
        with pytest.raises(ValueError, match=f"points={points} are too few for margin={margin:g}: take "):
            between(lambda: 0.0, parameters, ends, points=points, margin=margin)
        return
    axis = between(lambda: 0.0, parameters, ends, points=points, margin=margin).axes[0]
    assert len(axis) == points
    assert {0.0, 1.0} <= set(axis.tolist())
    assert axis.tolist() == pytest.approx((1 - axis.flip(0)).tolist(), abs=1e-15)
    # of another number of steps between the ends, by 2, the margin would be no nearer
    inside = round(1 / float(axis[1] - axis[0]))
    wanted = (points - 1) / (1 + 2 * margin)
    assert abs(inside - wanted) <= 1 or inside in (1, 2)


def test_a_plane_through_three_points() -> None:
    parameters, a = quadratic([(2, 3), (2,)])
    origin = [p.detach().clone() for p in parameters]
    points = {
        "a": origin,
        "b": [p + torch.randn_like(p) for p in origin],
        "c": [p - torch.randn_like(p) for p in origin],
    }
    found = between(lambda: value(parameters, a), parameters, points, points=6, margin=0.3)
    distance = {(i, j): float((flat(points[i]) - flat(points[j])).norm()) for i in points for j in points}
    for (i, j), expected in distance.items():
        assert math.dist(found.marks[i], found.marks[j]) == pytest.approx(expected, abs=1e-9)
    # a quadratic on a plane has no third differences
    loss = found.values["loss"]
    assert float(loss.diff(n=3, dim=0).abs().max()) < 1e-9 * float(loss.max())
    assert float(loss.diff(n=3, dim=1).abs().max()) < 1e-9 * float(loss.max())
    assert found.marks["a"] == (0.0, 0.0)
    assert found.marks["b"][1] == pytest.approx(0, abs=1e-12)


def test_a_trajectory_lies_in_its_plane_where_it_is_plane() -> None:
    parameters, a = quadratic([(3, 3)])
    end, one, two = (torch.randn(3, 3, dtype=torch.float64) for _ in range(3))
    path = {str(k): [end + (5 - k) * one + (5 - k) ** 2 * two] for k in range(6)}
    found = trajectory(lambda: value(parameters, a), parameters, path, points=4)
    assert sum(found.explained) == pytest.approx(1, abs=1e-9)
    assert found.explained[0] >= found.explained[1]
    assert found.marks["5"] == (0.0, 0.0)
    for k in range(6):
        assert math.hypot(*found.marks[str(k)]) == pytest.approx(float((path[str(k)][0] - end).norm()), abs=1e-9)


def test_what_spans_nothing_is_refused() -> None:
    parameters = [nn.Parameter(torch.ones(2, 2))]
    here = [torch.ones(2, 2)]
    for ends, words in (
        ({"a": here, "b": here}, "the same weights"),
        ({"a": here, "b": [2 * here[0]], "c": [3 * here[0]]}, "on one line"),
        ({"a": here}, "not 1"),
        ({"a": here, "b": [torch.ones(3)]}, "shapes"),
    ):
        with pytest.raises(ValueError, match=words):
            between(lambda: 0.0, parameters, ends)
    with pytest.raises(ValueError, match="on one line"):
        trajectory(lambda: 0.0, parameters, {str(k): [k * here[0]] for k in range(3)})
    two = {"a": here, "b": [2 * here[0]]}
    for keywords, words in (({"points": 1}, "points must be an integer >= 2, not 1"), ({"margin": -1.0}, "margin")):
        with pytest.raises(ValueError, match=words):
            between(lambda: 0.0, parameters, two, **keywords)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="odd"):
        landscape(lambda: 0.0, parameters, points=4)
    with pytest.raises(ValueError, match="dimensions"):
        landscape(lambda: 0.0, parameters, dimensions=3)
    with pytest.raises(ValueError, match="span"):
        landscape(lambda: 0.0, parameters, span=0)


def test_weights_are_put_back_where_the_loss_raises() -> None:
    parameters = [nn.Parameter(torch.randn(3, 3))]
    before = parameters[0].detach().clone()

    def loss() -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        landscape(loss, parameters, points=3)
    assert torch.equal(parameters[0], before)
