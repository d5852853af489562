"""Test `deeprelax find-lr`: rates that are known, every optimizer and task, and what is left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hooks import spoil
from tests.optimizers import CHOICES, KINDS
from tests.quick import QUICK, RUN, assert_same, directory

Command = Callable[..., tuple[int, str, str]]
FIND = ["find-lr", *QUICK, "dataset.train_size=100", "--steps", "12", "--from", "1e-4"]
# f = 1/2 w . H w, H of eigenvalues 1 and 10, the same in each batch of all examples
BOWL = """
import torch
from deeprelax.tasks import LeastSquares, Metric

class Bowl(LeastSquares):
    factor = 0.5
    shape = {"inputs": 2, "outputs": 1}
    metrics = {"squares": Metric()}

    def __init__(self, setting):
        rows = (torch.diag(torch.tensor([2.0, 20.0]).sqrt()), torch.zeros(2, 1))
        super().__init__(setting, {"train": rows, "test": rows})
        self.fingerprint = "bowl"

    def scores(self, sums):
        return {"loss": sums[0].item() / 4, "squares": sums[0].item()}

class Line(torch.nn.Linear):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, bias=False)
"""
ON_A_BOWL = [
    "task=custom",
    "task.name=bowl:Bowl",
    "model=custom",
    "model.name=bowl:Line",
    "batch_size=2",
    "hardware.threads=1",
]
CURVATURE = 10.0
# of Nesterov's momentum, which on a quadratic is stable for rates under 2 (1 + m) / ((1 + 2 m) curvature)
NESTEROV = 2 * 1.9 / 2.8 / CURVATURE


def written(folder: str | Path) -> dict[str, Any]:
    (file,) = Path(folder).rglob("find_lr.json")
    assert (file.parent / "find_lr.png").read_bytes().startswith(b"\x89PNG")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


@pytest.mark.parametrize(
    ("keys", "key", "bound"),
    [
        (["optimizer=sgd", "optimizer.momentum=0"], "optimizer.lr", 2 / CURVATURE),
        (["optimizer=sgd"], "optimizer.lr", NESTEROV),
        (["optimizer=entropy_sgd"], "optimizer.inner_lr", NESTEROV),
        (["optimizer=entropy_sgd", "optimizer.inner_momentum=0"], "optimizer.inner_lr", 2 / CURVATURE),
        (["optimizer=hj", "optimizer.gamma=1e-6", "optimizer.momentum=0"], "optimizer.lr", 2 / CURVATURE),
    ],
)
def test_on_a_quadratic_the_suggestion_is_below_the_bound_of_divergence(
    keys: list[str], key: str, bound: float, deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bowl.py").write_text(BOWL)
    monkeypatch.syspath_prepend(str(tmp_path))
    status, out, err = deeprelax("find-lr", *ON_A_BOWL, *keys, "--out", "found", "--steps", "100")
    assert (status, err) == (0, "")
    found = written("found")
    assert out.splitlines()[-1].startswith(f"suggested {key}={found['suggestion']:g}  ")
    assert bound / 100 < found["suggestion"] < bound
    assert bound < found["diverged"] < 100 * bound  # by few steps at rising rates a loss of 1e-9 takes its time
    losses = {}
    for rate in (found["suggestion"], 1.5 * bound):
        run = [*ON_A_BOWL, *keys, f"{key}={rate}", "epochs=100", f"output_dir={rate}", "optimizer.weight_decay=0"]
        deeprelax("train", *run, "train.evaluate_every=1000")
        result = directory(str(rate)) / "result.json"
        losses[rate] = json.loads(result.read_text())["test_loss"] if result.exists() else float("inf")
    converged, diverged = losses.values()
    assert converged < 0.1 * found["smoothed"][0]
    assert diverged > 10 * found["smoothed"][0]


@pytest.mark.parametrize(
    "optimizer", [pytest.param(name, marks=() if name in KINDS else pytest.mark.slow) for name in CHOICES]
)
def test_every_optimizer(optimizer: str, deeprelax: Command) -> None:
    status, out, err = deeprelax(*FIND, f"optimizer={optimizer}", *CHOICES[optimizer])
    assert (status, err) == (0, "")
    found = written("outputs/find_lr")
    chains = {"entropy_sgd", "hj_proximal", "parle", "lookahead", "snoo", "diloco"}
    assert found["key"] == f"optimizer.{'inner_lr' if optimizer in chains else 'lr'}"
    assert f"suggested {found['key']}={found['suggestion']:g}  {found['gradient_evaluations']} gradient eval" in out
    assert 1e-5 <= found["suggestion"] < 1
    assert found["seconds"] > 0


TASKS = {
    "classification": [],
    "regression": ["batch_size=100"],
    "diagonal": ["batch_size=500"],
    "matrix_sensing": ["batch_size=500"],
    "pinn": ["task.points=50", "batch_size=50", "model.hidden=8"],
    "symbolic": [],
    "estimation": ["task.points=60", "batch_size=60"],
    "bayesian": ["dataset.train_size=60", "batch_size=20"],
    "tokens": ["model.width=8", "model.depth=1", "model.heads=2", "task.context=16"],
}


@pytest.mark.parametrize("task", TASKS)
def test_every_task(task: str, deeprelax: Command) -> None:
    words = ["find-lr", f"task={task}", "optimizer=adamw", "hardware.threads=1", "--steps", "12", *TASKS[task]]
    status, _, err = deeprelax(*words, "--out", "found")
    assert (status, err) == (0, "")
    found = written("found")
    assert found["task"] == task
    assert found["suggestion"] * 10 == pytest.approx(found["lowest"], rel=0.06)


def test_it_leaves_no_run_and_moves_no_random_number(deeprelax: Command) -> None:
    run = [*RUN, "epochs=2", "dataset.augment=flip_crop"]
    assert deeprelax(*run, "output_dir=before")[0] == 0
    deeprelax(*FIND, "optimizer=heat", "dataset.augment=flip_crop")  # with or without a suggestion
    first = written("outputs")
    assert {path.name for path in Path("outputs").rglob("*") if path.is_file()} == {"find_lr.png", "find_lr.json"}
    assert deeprelax("runs")[1] == "no runs under outputs\n"
    assert deeprelax(*run, "output_dir=after")[0] == 0
    assert_same(directory("before"), directory("after"))
    deeprelax(*FIND, "optimizer=heat", "dataset.augment=flip_crop")  # with or without a suggestion
    assert written("outputs")["losses"] == first["losses"]


def test_another_rate_and_an_optimizer_of_the_users_own(deeprelax: Command) -> None:
    status, out, _ = deeprelax(*FIND, "optimizer=entropy_sgd", "optimizer.inner_steps=3", "--key", "optimizer.lr")
    assert "lenet on digits with entropy_sgd: optimizer.lr from 0.0001 to 10\n" in out
    assert written("outputs")["key"] == "optimizer.lr"
    own = ["optimizer=custom", "optimizer.name=deeprelax.optim:Heat", "optimizer.options.sigma=0.01", "--out", "own"]
    status, out, _ = deeprelax(*FIND, *own)
    assert status == 0
    assert "suggested optimizer.options.lr=" in out


def test_from_the_weights_of_a_run(first: Path, deeprelax: Command) -> None:
    assert deeprelax(*FIND, "optimizer=sgd", "--out", "new")[0] == 0
    deeprelax(*FIND, "optimizer=sgd", f"init_from={first}", "--out", "trained")
    assert written("trained")["losses"][0] < 0.7 * written("new")["losses"][0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer=lbfgs"], "optimizer=lbfgs finds the length of each step by a line search"),
        (["-m", "optimizer=sgd,heat"], "find-lr tests one optimizer with one set of keys: leave -m out"),
        (["--from", "1", "--to", "0.1"], "--from 1 --to 0.1 is no range: give two numbers > 0, the larger one as --to"),
        (["--from", "nan"], "--from nan --to 10 is no range"),
        (["--to", "inf"], "--from 1e-06 --to inf is no range"),
        (["--steps", "9"], "--steps 9 is out of range: it must be an integer from 10 to 100000"),
        (["--steps", "x"], "argument --steps: invalid int value: 'x': see deeprelax find-lr --help"),
        (["--steps"], "argument --steps: expected one argument: see deeprelax find-lr --help"),
        (["optimizer=sgd", "--key", "inner_lr"], "--key inner_lr is no rate of optimizer=sgd: one of lr"),
        (["optimizer=entropy_sgd", "--key", "gamma"], "--key gamma is no rate of optimizer=entropy_sgd: one of in"),
        (["continue_from=x"], "find-lr continues no run: name the run in init_from, to start from its weights"),
        (["batch_size=0"], "batch_size=0 is out of range"),
        (["optimzer=sgd"], "optimzer is not a key (did you mean optimizer?)"),
        ([*FIND[1:-2], "optimizer=sgd", "--to", "1e-5"], "no rate from 1e-06 to 1e-05 lowers the loss by more "),
        ([*FIND[1:-2], "optimizer=sgd", "--to", "0.01"], "the loss still falls at 0.01: raise --to (outputs/find_lr/"),
        ([*FIND[1:-2], "optimizer=sgd", "--from", "5"], "the loss rises from 5 on: lower --from (outputs/find_lr/"),
    ],
)  # fmt: skip
def test_what_cannot_be_found_is_said_in_a_sentence(words: list[str], message: str, deeprelax: Command) -> None:
    status, _, err = deeprelax("find-lr", *words)
    assert (status, err.count("\n")) == (1, 1), err
    assert err.startswith(f"deeprelax: {message}")


def test_a_loss_that_is_never_finite(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch)
    status, _, err = deeprelax(*FIND, "optimizer=sgd", "--out", "folder")
    assert status == 1
    assert "the loss is not finite in the first step, at lr=0.0001: no rate is at fault, look at the data" in err
    assert not Path("folder").exists()


def test_several_processes_are_refused(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert "find-lr runs in one process: start it without torchrun" in deeprelax(*FIND)[2]


def test_help(deeprelax: Command) -> None:
    status, out, err = deeprelax("find-lr", "--help")
    assert (status, err) == (0, "")
    assert "arXiv 1506.01186" in out.replace("\n", " ")
    assert all(f"--{word} " in out for word in ("from", "to", "steps", "key", "out"))
    assert "find-lr    find how large" in deeprelax("--help")[1]
