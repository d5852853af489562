"""Test `deeprelax flatness` on the losses of all tasks, and on one of a custom task."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from deeprelax.flatness import Composite
from deeprelax.records.flatness import Asked
from deeprelax.runs.examples import Examples, prepare, restore
from deeprelax.runs.restored import restored
from deeprelax.tasks import Classification
from tests.cli.measured import LESS, LITTLE, found
from tests.quick import RUN, directory
from tests.tasks.test_runs import SHORT, TASKS

Command = Callable[..., tuple[int, str, str]]
STEP = 1e-6  # of central differences


def at(parameters: list[nn.Parameter], v: Tensor, value: Callable[[], Tensor]) -> Tensor:
    """The central difference of the value along v, flat."""
    x, found = parameters_to_vector(parameters).detach(), []
    for sign in (1, -1):
        vector_to_parameters(x + sign * STEP * v, parameters)
        found.append(value().detach().flatten())
    vector_to_parameters(x, parameters)
    return (found[0] - found[1]) / (2 * STEP)


def spectrum(product: Callable[[Tensor], Tensor], d: int) -> tuple[float, float]:
    """The largest eigenvalue by products alone, and, of small matrices, the trace."""
    small = float(sum(product(unit) @ unit for unit in torch.eye(d).double())) if d < 45 else math.nan
    operator = LinearOperator((d, d), lambda v: product(torch.from_numpy(v.copy()).flatten()).numpy(), dtype=float)
    return float(eigsh(operator, k=1, which="LA", v0=np.ones(d))[0][0]), small


@pytest.mark.parametrize("task", [task for task in TASKS if task not in ("classification", "estimation")])
def test_of_every_task_whose_loss_is_a_mean(task: str, deeprelax: Command) -> None:
    """Against central differences: of gradients for the Hessian, of outputs and their criterion for Gauss-Newton."""
    assert (
        deeprelax("train", *SHORT, f"task={task}", *TASKS[task], "optimizer=sgd", "epochs=1", "optimizer.lr=0.02")[0]
        == 0
    )
    few = ["--top", "1", "--only", "hessian,gauss_newton", "--dtype", "float64"]
    status, _, err = deeprelax("flatness", str(directory()), *few)
    assert (status, err) == (0, "")
    content, asked = found(directory()), Asked(dtype="float64")
    examples = Examples(restore(directory(), asked), asked)
    prepare(examples.run, asked)
    losses, parameters = examples.losses(), examples.parameters
    whole, d = sum(weight for weight, _ in losses), sum(p.numel() for p in parameters)
    assert content["images"] == whole
    assert content["loss"] == pytest.approx(sum(w / whole * loss().item() for w, loss in losses), rel=1e-9)

    def gradient() -> Tensor:
        mean = torch.stack([weight / whole * loss() for weight, loss in losses]).sum()
        return parameters_to_vector(torch.autograd.grad(mean, parameters, allow_unused=True, materialize_grads=True))

    def newton(v: Tensor) -> Tensor:
        total = torch.zeros(d, dtype=torch.float64)
        for weight, loss in losses:
            assert isinstance(loss, Composite)
            z = loss.outputs()
            along, leaf, criterion = (
                at(parameters, v, loss.outputs).view_as(z),
                nn.Parameter(z.detach()),
                loss.criterion,
            )
            curved = at([leaf], along.flatten(), lambda: torch.autograd.grad(criterion(leaf), leaf)[0])  # noqa: B023
            total += weight / whole * parameters_to_vector(torch.autograd.grad(z, parameters, curved.view_as(z)))
        return total

    assert content["hessian"]["converged"]
    products = {"hessian": lambda v: at(parameters, v, gradient)}
    # the loss of these is a function of what the network returns once
    if task in ("regression", "diagonal", "matrix_sensing", "tokens"):
        products["gauss_newton"] = newton
    assert {key for key in ("hessian", "gauss_newton") if key in content} == products.keys()
    for key, product in products.items():
        top, small = spectrum(product, d)
        assert content[key]["eigenvalues"][0] == pytest.approx(top, rel=1e-4)
        if d < 45:
            assert content[key]["trace"] == pytest.approx(small, rel=1e-4)


def test_a_loss_of_a_custom_task(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A penalty of the weights in it is a part of f."""
    assert deeprelax(*RUN, *LESS)[0] == 0
    folder, plain = directory(), Classification.loss
    words = ["flatness", str(folder), *LITTLE, "--only", "hessian,gauss_newton"]
    assert deeprelax(*words)[0] == 0
    before = found(folder)

    def penalised(self: Classification, model: nn.Module, *batch: Tensor) -> Tensor:
        return plain(self, model, *batch) + 0.5 * sum(p.square().sum() for p in model.parameters())

    monkeypatch.setattr(Classification, "loss", penalised)
    assert deeprelax(*words, "--again")[0] == 0
    content = found(folder)
    squares = sum(float(p.detach().square().sum()) for p in restored(folder).model.parameters())
    assert content["loss"] == pytest.approx(before["loss"] + squares / 2, rel=1e-5)
    assert content["hessian"]["eigenvalues"][0] == pytest.approx(before["hessian"]["eigenvalues"][0] + 1, rel=1e-2)
    assert "gauss_newton" not in content
