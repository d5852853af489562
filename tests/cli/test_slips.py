"""The commonest slips on the command line get a sentence, or are taken as they are meant."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from deeprelax.configuration.slips import refuse_spaces, with_infinity
from deeprelax.errors import UserError

Command = Callable[..., tuple[int, str, str]]

# what is typed: how the message begins, or what is in it after an ellipsis
SLIPS = {
    "train lr=0.1": "lr is not a key (did you mean optimizer.lr=0.1?): the keys there are task, ",
    "train +lr=0.1": "lr is not a key (did you mean optimizer.lr=0.1?): ",
    "train -m lr=0.1,0.2": "lr is not a key (did you mean optimizer.lr=0.1,0.2?): ",
    "train evaluate_every=1": "evaluate_every is not a key (did you mean train.evaluate_every=1?): ",
    "train optimizer=heat sigma=0.3": "sigma is not a key (did you mean optimizer.sigma=0.3?): ",
    "train task=bayesian optimizer=heat sigma=0.3": "sigma is not a key (did you mean model.sigma=0.3 or optimizer.sig",
    "train optimizer=sgd sigma=0.3": "sigma is not a key: ",  # of no group that is chosen
    "bench dropout=0.3": "dropout is not a key (did you mean model.dropout=0.3?): ",
    "train --epochs 5": "--epochs 5 is not an option: a key has no dashes, write epochs=5",
    "train seed=1 --epochs=5": "--epochs=5 is not an option: a key has no dashes, write epochs=5",
    "train --batch-size 64 seed=1": "--batch-size 64 is not an option: a key has no dashes, write batch_size=64",
    "train --lr 0.1": "--lr 0.1 is not an option: a key has no dashes, write optimizer"
    ".lr=0.1\n",
    "train optimizer=heat --sigma 0.1": "--sigma 0.1 is not an option: a key has no dashes, write optimizer.sigma=0.1",
    "train --optimizer heat": "--optimizer heat is not an option: a key has no dashes, write optimizer=heat",
    "train --experiment smoke": "--experiment smoke is not an option: a key has no dashes, write experiment=smoke",
    "train --force": "--force is not an option: a key has no dashes, write force=true",
    "train --seed": "--seed is not an option: a key has no dashes, write seed=VALUE",
    "train --whatever 1": "--whatever 1 is not an option: keys are written KEY=VALUE, without dashes; see --help",
    "pde smooth --dimension 2": "--dimension 2 is not an option: a key has no dashes, write dimension=2",
    "train optimizer=sgd,heat": "optimizer=sgd,heat is a sweep, one run for each value: add -m\n",
    "train seed=range(3)": "seed=range(3) is a sweep, one run for each value: add -m\n",
    "train optimizer.betas=0.9,0.99": "optimizer.betas=0.9,0.99 is a sweep, one run for each value: add -m, or write "
    "'optimizer.betas=[0.9,0.99]' for a list\n",
    "train -m optimizer=sgd, heat": "optimizer=sgd, heat has a space, at which the shell ends a word: write "
    "optimizer=sgd,heat\n",
    "train -m seed=0, 1, 2 epochs=1": "seed=0, 1, 2 has a space, at which the shell ends a word: write seed=0,1,2\n",
    "train -m seed=0 ,1": "seed=0 ,1 has a space, at which the shell ends a word: write seed=0,1\n",
    "train optimizer.lr = 0.1": "optimizer.lr = 0.1 has a space, at which the shell ends a word: write optimizer"
    ".lr=0.1\n",
    "train optimizer.betas=[0.9, 0.99]": "optimizer.betas=[0.9, 0.99] has a space, at which the shell ends a word: "
    "write 'optimizer.betas=[0.9,0.99]'\n",
    "train sweep=paper_mnist": "sweep=paper_mnist comes on top of what is chosen: write +sweep=paper_mnist\n",
    "train -m optimizer=sgd,heat optimizer.sigma=0.1": "optimizer.sigma is not a key: the keys of optimizer=sgd are "
    "name, options, groups, decay_norms_and_biases, lr, momentum, nesterov, weight_decay; no job of the sweep was "
    "started: leave optimizer=sgd out of it, or optimizer.sigma\n",
    "train -m optimizer=entropy_sgd,sgd optimizer.gamma=1,2": "optimizer.gamma is not a key: the keys of optimizer=sgd",
    "train -m +sweep=tune_heat optimizer.gamma=1": "optimizer.gamma is not a key (did you mean optimizer.sigma?): the "
    "keys of optimizer=heat are ",
    "train -m optimizer=sgd,sdg": "optimizer=sdg is not a choice (did you mean sgd?): ",
    "train hardware.device=cuda dataset=custom dataset.name=boom:load": "hardware.device=cuda, but torch sees no "
    "GPU: use hardware.device=cpu or auto\n",
    "train hardware.cuda_graphs=true dataset=custom dataset.name=boom:load": "hardware.cuda_graphs=true works on GPUs",
    "train optimizer.lr=.inf": "optimizer.lr=inf is out of range: it must be a number >= 0",
    "train optimizer.gamma=-.inf": "optimizer.gamma=-inf is out of range: it must be a number > 0 (inf switches the ",
}  # fmt: skip


@pytest.mark.parametrize("line", SLIPS)
def test_a_slip_gets_one_sentence_and_nothing_is_started(
    line: str, deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    status, out, err = deeprelax(*shlex.split(line))
    assert (status, out) == (1, "")
    assert err.startswith(f"deeprelax: {SLIPS[line]}")
    assert err.count("\n") == 1
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_keys_that_only_the_choices_of_a_sweep_have_are_swept(deeprelax: Command) -> None:
    """The default optimizer has no sigma: Hydra, which composes the sweep without its choices, would refuse it."""
    line = ["train", "-m", "optimizer=heat", "model=wrn,wrn_16_4", "model.depth=10", "optimizer.sigma=0.1,x"]
    status, _, err = deeprelax(*line)
    assert status == 1
    assert err == (
        "deeprelax: optimizer.sigma: value 'x' of type 'str' could not be converted to Float; "
        "no job of the sweep was started\n"
    )


@pytest.mark.parametrize("value", ["inf", "+inf", ".inf", "+.inf", ".Inf", "INF", "Infinity", "infinity"])
def test_infinity_as_people_type_it(value: str, deeprelax: Command) -> None:
    status, out, _ = deeprelax("train", f"optimizer.gamma={value}", "--cfg", "job")
    assert status == 0
    assert yaml.safe_load(out)["optimizer"]["gamma"] == float("inf")


def test_infinity_is_of_keys_that_hold_numbers() -> None:
    assert with_infinity("optimizer.gamma=.inf,1") == "optimizer.gamma=inf,1"
    for other in (
        "output_dir=.inf",
        "dataset.path=a/.inf",
        "optimizer.gamma=x.inf",
        "~optimizer",
        "optimizer.seed=.inf",
    ):
        assert with_infinity(other) == other


def test_what_has_spaces_for_a_reason_passes() -> None:
    refuse_spaces([])
    refuse_spaces(["output_dir=", "seed=1"])
    refuse_spaces(["output_dir=my runs", "optimizer.betas=[0.9, 0.99]", "x==", "seed=1"])
    with pytest.raises(UserError, match="x=1, 2 has a space"):
        refuse_spaces(["seed=1", "x=1,", "2", "y=2"])


# the module of each kind, with an error in a helper that its class or function calls
OWN = {
    "model": (
        "class Net(torch.nn.Module):\n    def __init__(self, channels, image_size, classes):\n        helper()\n"
    ),
    "dataset": "def load(data_dir):\n    helper()\n",
    "optimizer": "from deeprelax.optim import Relaxation\nclass Mine(Relaxation):\n    evaluations = 1\n"
    "    def __init__(self, params):\n        super().__init__(params, {'lr': 0.1})\n"
    "    def direction(self, evaluate, blocks):\n        helper()\n",
    "task": "def Mine(setting):\n    helper()\n",
}
NAMES = {"model": "Net", "dataset": "load", "optimizer": "Mine", "task": "Mine"}


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("sweep", [[], ["-m"]])
def test_the_traceback_of_a_class_of_ones_own_begins_at_its_file(
    kind: str, sweep: list[str], deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"own_{kind}{len(sweep)}"
    file = tmp_path / f"{module}.py"
    file.write_text(f"import torch\ndef helper():\n    raise KeyError('mine')\n{OWN[kind]}")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = [f"{kind}=custom", f"{kind}.name={module}:{NAMES[kind]}"]
    status, _, err = deeprelax("train", *sweep, *own, "hardware.device=cpu", "hardware.threads=1", "epochs=1")
    assert status == 1
    lines = err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith(f'  File "{file}", line ')
    assert "KeyError: 'mine'" in lines
    assert str(Path(__file__).parents[2] / "deeprelax") not in err.partition("KeyError")[0]
    (log,) = Path("outputs").rglob("train.log")
    assert f'Traceback (most recent call last):\n  File "{file}", line ' in log.read_text()


def test_methods_that_a_task_of_ones_own_lacks_are_named(
    deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lacking.py").write_text("from deeprelax.tasks import Task\nclass Mine(Task):\n    examples = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    status, _, err = deeprelax("train", "task=custom", "task.name=lacking:Mine", "hardware.threads=1")
    assert status == 1
    assert err == (
        "deeprelax: task.name=lacking:Mine lacks draw, loss, make, scores, splits, statistics, sums: write them\n"
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("class Net(:\n", "SyntaxError: "),
        ("import torch\nimport no_such\n", "ModuleNotFoundError: No module named 'no_such'"),
    ],
)
def test_a_file_that_cannot_be_imported_is_where_the_traceback_begins(
    content: str, expected: str, deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"broken{len(content)}"
    (tmp_path / f"{module}.py").write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    status, _, err = deeprelax("train", "model=custom", f"model.name={module}:Net", "hardware.threads=1")
    assert status == 1
    lines = [line for line in err.splitlines() if not line.startswith("Traceback")]
    assert lines[0].startswith(f'  File "{tmp_path / module}.py", line ')
    assert lines[-1].startswith(expected)
