"""Regression against closed-form least squares, and its splits."""

from __future__ import annotations

import pytest
import sklearn.datasets
import torch
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score, root_mean_squared_error
from torch import Tensor

from deeprelax.errors import UserError
from deeprelax.models import Dense
from deeprelax.tasks import Regression
from deeprelax.training.objective import Autocast, Loss, Objective

from .problems import CPU, make, scored, training_rows

FLOAT32 = Autocast("float32", CPU)


def linear(weight: Tensor) -> Dense:
    net = Dense(10, 1, layers=0)
    with torch.no_grad():
        net[0].weight.copy_(weight[None])
        net[0].bias.zero_()
    return net


def test_the_gradient_of_a_linear_network_is_that_of_least_squares() -> None:
    task = make(Regression, 354)
    x, y = training_rows(task)
    torch.testing.assert_close(x.mean(0), torch.zeros(10, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(10, dtype=torch.float64), rtol=0, atol=1e-6)
    solution = torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
    anywhere = torch.randn(10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for w, size in [(anywhere, 1.0), (solution, 0.0)]:
        net = linear(w)
        value = Objective(Loss(task, net, FLOAT32), task)()
        assert value.item() == pytest.approx((x @ w - y).square().mean().item(), rel=1e-5)
        expected = 2 * x.T @ (x @ w - y) / len(y)
        assert (expected.norm() > 1e-5) == bool(size)
        torch.testing.assert_close(net[0].weight.grad[0].double(), expected, rtol=1e-5, atol=2e-6)


def test_the_scores_of_the_least_squares_solution_are_scikit_learns() -> None:
    for validation in (0, 54):
        task = make(Regression, 32, validation=validation)
        x, y = training_rows(task)
        net = linear(torch.linalg.lstsq(x, y[:, None]).solution[:, 0])  # no bias: x and y have mean 0
        table, train = sklearn.datasets.load_diabetes(scaled=False), task.parts["train"].numpy()
        fitted = LinearRegression().fit(table.data[train], table.target[train])
        assert set(task.splits()) == set(task.parts) - {"train"}
        for name, chunks in task.splits().items():
            own = task.parts[name].numpy()
            predicted, found = fitted.predict(table.data[own]), scored(task, net, chunks)
            assert found["rmse"] == pytest.approx(root_mean_squared_error(table.target[own], predicted), rel=1e-5)
            assert found["r2"] == pytest.approx(r2_score(table.target[own], predicted), rel=1e-4)
            assert found["loss"] == pytest.approx((found["rmse"] / table.target[train].std()) ** 2, rel=1e-5)


def test_every_example_is_in_one_split_and_the_test_part_is_always_the_same() -> None:
    tasks = [make(Regression, 32), make(Regression, 32, seed=5, validation=54)]
    for task in tasks:
        assert sorted(torch.cat(list(task.parts.values())).tolist()) == list(range(442))
    assert torch.equal(tasks[0].parts["test"], tasks[1].parts["test"])
    assert [task.examples for task in tasks] == [354, 300]
    assert torch.equal(make(Regression, 32, validation=54).parts["train"], tasks[1].parts["train"])
    assert tasks[0].fingerprint == make(Regression, 32, seed=5).fingerprint != tasks[1].fingerprint


def test_r2_is_larger_for_the_better_and_rmse_is_what_runs_are_compared_by() -> None:
    metrics = make(Regression, 32).metrics
    assert list(metrics) == ["rmse", "r2"]
    assert metrics["rmse"].smaller_is_better
    assert not metrics["r2"].smaller_is_better


def test_statistics_are_the_same_batches_each_time_and_no_more_than_a_pass() -> None:
    task = make(Regression, 100)
    chunks = task.statistics(50)
    assert chunks.count == 3
    assert task.statistics(2).count == 2
    again = make(Regression, 100).statistics(50)
    assert all(torch.equal(a, b) for k in range(3) for a, b in zip(chunks.take(k), again.take(k), strict=True))


def test_too_many_held_out_are_refused() -> None:
    with pytest.raises(UserError, match=r"task\.validation=353 leaves 1 examples to train on: lower it"):
        make(Regression, 32, validation=353)
    with pytest.raises(ValueError, match="validation must be 0, or an integer from 2"):
        make(Regression, 32, validation=1)
