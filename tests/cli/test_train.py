"""Test `deeprelax train` and `evaluate` as a user types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deeprelax.commands import train
from deeprelax.parallel import devices
from tests import quick
from tests.hooks import spoil

Command = Callable[..., tuple[int, str, str]]
QUICK = [*quick.QUICK, "epochs=1"]


def test_a_sweep_makes_one_directory_for_each_run_and_a_second_one_does_nothing(deeprelax: Command) -> None:
    sweep = ["train", "-m", *QUICK, "optimizer=sgd,heat", "seed=0,1"]
    status, out, err = deeprelax(*sweep)
    assert (status, err) == (0, "")
    family = Path("outputs/train")
    name = "optimizer-{}+dataset.train_size-200+batch_size-32+epochs-1+train.bn_batches-2"
    runs = {family / name.format(optimizer) / f"seed-{seed}" for optimizer in ("sgd", "heat") for seed in (0, 1)}
    assert {path.parent for path in family.rglob("result.json")} == runs
    assert out.count("finished before") == 0
    times = {run: (run / "checkpoint.pt").stat().st_mtime_ns for run in runs}
    status, out, _ = deeprelax(*sweep)
    assert status == 0
    assert out.count("finished before: test error") == 4
    assert times == {run: (run / "checkpoint.pt").stat().st_mtime_ns for run in runs}


def test_a_single_run_lies_where_the_sweep_would_put_it(deeprelax: Command) -> None:
    deeprelax("train", *QUICK, "optimizer=sgd")
    status, out, _ = deeprelax("train", "-m", *QUICK, "optimizer=sgd")
    assert status == 0
    assert "finished before" in out


def test_evaluate_prints_the_numbers_of_the_result(deeprelax: Command) -> None:
    status, out, _ = deeprelax("train", *QUICK, "optimizer=hj", "dataset.validation=50")
    assert status == 0
    (directory,) = (path.parent for path in Path("outputs").rglob("result.json"))
    result = json.loads((directory / "result.json").read_text())
    closing = out.splitlines()[-1]
    assert closing.startswith(f"test error {result['test_error']:.2f} %  ")
    assert closing.endswith(str(directory))
    for argument in (str(directory), f"run={directory}"):
        status, out, err = deeprelax("evaluate", argument)
        assert (status, err) == (0, "")
        assert f"test_error {result['test_error']:.6g} %\n" in out
        assert f"test_loss {result['test_loss']:.6g}\n" in out
        assert f"validation_error {result['validation_error']:.6g} %\n" in out
        assert out.endswith("as in result.json\n")


@pytest.mark.parametrize(
    ("task", "score", "sign"), [("classification", "error", 1), ("tests.accuracy:Accuracy", "accuracy", -1)]
)
def test_the_number_that_sweepers_minimise(
    task: str, score: str, sign: int, deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[float] = []
    job = train.job
    monkeypatch.setattr(train, "job", lambda config: returned.append(job(config)))
    for held_out, split in ((0, "test"), (50, "validation")):
        words = [f"task.name={task}", f"dataset.validation={held_out}", "optimizer=sgd", f"output_dir={split}"]
        assert deeprelax("train", *QUICK, *words)[0] == 0
        (file,) = Path(split).rglob("result.json")
        assert returned.pop() == sign * json.loads(file.read_text())[f"{split}_{score}"]
        job_of_a_sweep = devices.Job([], file.parent, [])
        assert devices._returned(job_of_a_sweep).return_value == sign * json.loads(file.read_text())[f"{split}_{score}"]


def test_evaluate_prints_a_tasks_own_score(deeprelax: Command) -> None:
    assert deeprelax("train", *QUICK, "task.name=tests.accuracy:Accuracy", "optimizer=sgd")[0] == 0
    (directory,) = (path.parent for path in Path("outputs").rglob("result.json"))
    result = json.loads((directory / "result.json").read_text())
    status, out, err = deeprelax("evaluate", str(directory))
    assert (status, err) == (0, "")
    assert f"test_accuracy {result['test_accuracy']:.6g}\n" in out
    assert out.endswith("as in result.json\n")


@pytest.mark.parametrize("equation", ["viscous_hj", "hj", "heat"])
def test_pde_relaxed_takes_each_equation(equation: str, deeprelax: Command) -> None:
    status, out, _ = deeprelax("train", *QUICK, "optimizer=pde_relaxed", f"optimizer.equation={equation}")
    assert status == 0
    assert "test error" in out


def test_the_command_line_wins_over_a_preset(deeprelax: Command) -> None:
    _, out, _ = deeprelax("train", "experiment=paper_lenet", "optimizer=sgd", "--cfg", "job", "-p", "schedule")
    assert "name: step" in out
    chosen = ["schedule=cosine", "optimizer.lr=0.7"]
    _, out, _ = deeprelax("train", "experiment=paper_lenet", "optimizer=sgd", *chosen, "--cfg", "job")
    assert "name: cosine" in out
    assert "lr: 0.7" in out
    _, out, _ = deeprelax("train", "experiment=mnist_lenet", "optimizer=heat", "optimizer.lr=0.7", "--cfg", "job")
    assert "lr: 0.7" in out
    assert "sigma: 0.01" in out


def test_a_broken_job_of_a_sweep_does_not_stop_the_others(deeprelax: Command) -> None:
    status, _, err = deeprelax("train", "-m", *QUICK, "optimizer=sgd", "optimizer.lr=-1,0.1,-2")
    assert status == 1

    assert "deeprelax: 2 of 3 jobs failed; the same command does what is missing:\n" in err
    for lr in (-1, -2):
        assert (
            f" optimizer.lr={lr}: optimizer.lr={lr}.0 is out of range: it must be a number >= 0 and at most 3.4e+38\n"
            in err
        )
    assert len(list(Path("outputs").rglob("result.json"))) == 1


def test_choices_of_the_users_own(deeprelax: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "tiny.yaml").write_text("# @package _global_\nepochs: 1\nbatch_size: 50\ndataset:\n  train_size: 100\n")
    status, _, _ = deeprelax("train", "--config-dir", str(tmp_path / "mine"), "experiment=tiny", "optimizer=sgd")
    assert status == 0
    assert (tmp_path / "outputs/tiny/optimizer-sgd/seed-0/result.json").is_file()


def test_a_sweep_run_again_heals(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = ["train", "-m", *QUICK, "optimizer=sgd", "seed=0,1,2"]
    with monkeypatch.context() as patch:
        spoil(patch, seeds=[1])
        status, _, err = deeprelax(*sweep)
    assert status == 1
    assert "1 of 3 jobs failed" in err
    assert "seed-1/train.log)" in err
    status, out, _ = deeprelax(*sweep)
    assert status == 0
    assert out.count("finished before") == 2
    assert len(list(Path("outputs").rglob("result.json"))) == 3
