"""The problems as torch losses, and the rules of this room: what may be imported where."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import deeprelax.pde
from deeprelax.pde.losses import descend, direction, loss
from deeprelax.pde.problems.catalog import PROBLEMS
from deeprelax.pde.problems.functions import quadratic

ALLOWED = {"errors", "files", "ranges", "optim", "reporting.style"}


@pytest.mark.parametrize("dimension", [1, 2])
@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_the_gradient_is_that_of_the_value(name: str, dimension: int) -> None:
    problem = PROBLEMS[name](dimension)
    x = torch.from_numpy(np.random.default_rng(0).uniform(-1.9, 1.9, (dimension, 5))).requires_grad_()
    assert torch.autograd.gradcheck(loss(problem), (x,), eps=1e-6, atol=1e-5)


def test_points_are_runs_of_their_own() -> None:
    x = np.array([[0.5, -1.0, 2.0]])
    together = direction(quadratic(), "entropy_sgd", x, gamma=1.0, inner_steps=5, temperature=0.0)
    alone = [
        direction(quadratic(), "entropy_sgd", x[:, [i]], gamma=1.0, inner_steps=5, temperature=0.0) for i in range(3)
    ]
    np.testing.assert_array_equal(together, np.concatenate(alone, axis=1))


def test_descent_spends_no_more_than_its_budget_and_repeats_itself() -> None:
    arguments = (quadratic(), "hj", np.array([[1.0, -2.0]]), 23)
    spent, path = descend(*arguments, noise=0.1, noise_seed=3, inner_steps=5)
    assert spent.tolist() == [0, 5, 10, 15, 20]
    np.testing.assert_array_equal(path, descend(*arguments, noise=0.1, noise_seed=3, inner_steps=5)[1])
    assert not np.array_equal(path, descend(*arguments, noise=0.1, noise_seed=4, inner_steps=5)[1])


def test_losses_refuse_other_types() -> None:
    with pytest.raises(TypeError, match="float64"):
        loss(quadratic())(torch.zeros(1, 3))


def test_the_room_imports_neither_training_nor_the_command_line() -> None:
    folder = Path(deeprelax.pde.__file__).parent
    files = list(folder.rglob("*.py"))
    assert len(files) > 30
    for file in files:
        text = file.read_text()
        outside = "." * (1 + len(file.relative_to(folder).parents))  # the package itself, seen from the file
        found = re.findall(rf"^\s*from {re.escape(outside)}([a-z_][a-z_.]*)? import (\w+)", text, re.MULTILINE)
        assert {module or name for module, name in found} <= ALLOWED, file.name
        assert not re.search(r"^\s*(import|from) deeprelax", text, re.MULTILINE), file.name
        of_networks = file.name in ("losses.py", "hamiltonian_depth.py")
        assert of_networks or not re.search(r"^\s*(import|from) torch", text, re.MULTILINE), file.name


def test_smooth_does_not_import_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from deeprelax.cli import main; status = main(['pde', 'smooth', 'points=64']); "
        "sys.exit(status or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)


@pytest.mark.parametrize("command", ["descend", "directions"])
def test_settings_do_without_torch(command: str) -> None:
    code = f"import sys; import deeprelax.pde.experiments.{command}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
