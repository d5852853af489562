"""A task and a data set of the user's, as the README has them: trained, resumed bit for bit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hooks import interrupt_at
from tests.quick import assert_same, directory

Command = Callable[..., tuple[int, str, str]]
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def example(first_line: str) -> str:
    """The indented block of the README that begins so."""
    found = re.search(rf"^    {re.escape(first_line)}\n(?:(?:    .*)?\n)+", README, re.MULTILINE)
    assert found is not None, first_line
    return "\n".join(line[4:] for line in found[0].splitlines()) + "\n"


def interrupted(run: list[str], deeprelax: Command, patch: pytest.MonkeyPatch, evaluation: int) -> None:
    """The run whole, and the run in two parts, are the same."""
    assert deeprelax(*run, "output_dir=whole")[::2] == (0, "")
    with patch.context() as inner:
        interrupt_at(inner, evaluation)
        assert deeprelax(*run, "output_dir=parts")[0] == 130
    status, out, err = deeprelax(*run, "output_dir=parts")
    assert (status, err) == (0, "")
    assert "resuming from pass" in out
    assert_same(directory("whole"), directory("parts"))


def test_the_task_of_the_readme(deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "waves.py").write_text(example("import torch  # waves.py"))
    monkeypatch.syspath_prepend(str(tmp_path))
    run = ["train", "task=custom", "task.name=waves:Wave", "task.options.frequency=3", "hardware.threads=1"]
    run += ["optimizer=heat", "optimizer.lr=0.02", "epochs=4", "train.checkpoint_every=1", "batch_size=50"]
    interrupted(run, deeprelax, monkeypatch, 50)
    result = json.loads((directory("whole") / "result.json").read_text())
    assert result["examples"] == 1000
    assert result["test_mae"] > 0
    assert deeprelax("evaluate", str(directory("whole")))[1].endswith("as in result.json\n")
    wrong = [*run, "model=lenet"]
    assert (
        "model=lenet takes channels, image_size, classes; task=waves:Wave gives inputs, outputs" in deeprelax(*wrong)[2]
    )
    assert "task.options: waves:Wave does not take them: " in deeprelax(*run, "task.options.phase=1")[2]


REPORTING = """
class Reporting(Wave):
    def report(self, model, folder):
        (folder / "wave.txt").write_text(f"{sum(p.numel() for p in model.parameters())} numbers")
"""


def test_a_report_is_made_before_the_result(
    deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reporting.py").write_text(example("import torch  # waves.py") + REPORTING)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = ["train", "task=custom", "task.name=reporting:Reporting", "hardware.threads=1", "optimizer=heat"]
    assert deeprelax(*run, "optimizer.lr=0.02", "epochs=1")[0] == 0
    result = json.loads((directory() / "result.json").read_text())
    assert (directory() / "wave.txt").read_text() == f"{result['parameters']} numbers"


def test_the_choices_can_be_read_without_torch_and_the_tools_are_there() -> None:
    code = (
        "import sys, deeprelax.tasks as tasks; from deeprelax.tasks import hyperparameters, Metric\n"
        "assert {'Task', 'Setting', 'Chunks', 'Metric', 'LeastSquares', 'Classification'} <= set(tasks.__all__)\n"
        "assert not {'torch', 'hydra', 'sklearn'} & set(sys.modules)\n"
        "from deeprelax.tasks import Chunks, Setting, Task\n"
        "assert not {'deeprelax.training', 'deeprelax.runs', 'deeprelax.tasks.regression'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_no_task_is_refused(deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "seven.py").write_text("def seven(*_): return 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    status, _, err = deeprelax("train", "task=custom", "task.name=seven:seven", "hardware.threads=1")
    assert (status, err) == (
        1, "deeprelax: task.name=seven:seven is not a deeprelax.tasks.Task: derive it from that class\n",
    )  # fmt: skip
    status, _, err = deeprelax("train", "dataset=custom", "dataset.name=seven:seven", "hardware.threads=1")
    assert status == 1
    assert "dataset.name=seven:seven returns int, not a deeprelax.data.images.ImageData: let it return one" in err


def test_the_data_set_of_the_readme(deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stripes.py").write_text(example("import torch  # stripes.py"))
    monkeypatch.syspath_prepend(str(tmp_path))
    run = ["train", "dataset=custom", "dataset.name=stripes:load", "dataset.options.size=24", "hardware.threads=1"]
    run += ["dataset.validation=20", "optimizer=sgd", "epochs=3", "train.checkpoint_every=1", "batch_size=20"]
    interrupted(run, deeprelax, monkeypatch, 20)
    result = json.loads((directory("whole") / "result.json").read_text())
    assert result["training_images"] == 180
    assert result["test_error"] <= 10


@pytest.mark.slow
def test_the_task_of_the_readme_on_two_ranks(
    deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways to share: parts of one batch give one rank's scores to rounding, chains a run of their own."""
    (tmp_path / "waves.py").write_text(example("import torch  # waves.py"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    run = ["train", "task=custom", "task.name=waves:Wave", "task.options.frequency=3", "hardware.threads=1"]
    run += ["optimizer=heat", "optimizer.lr=0.02", "epochs=4", "batch_size=50"]
    found = {}
    for name, ranks in {"one": [], "data": ["hardware.share=data"], "chains": ["hardware.share=chains"]}.items():
        devices = ["hardware.devices=2"] if ranks else []
        status, _, err = deeprelax(*run, *devices, *ranks, f"output_dir={name}")
        assert (status, err) == (0, "")
        found[name] = json.loads((directory(name) / "result.json").read_text())["test_mae"]
    assert found["data"] == pytest.approx(found["one"], rel=1e-3)
    assert 0 < found["chains"] < 1
