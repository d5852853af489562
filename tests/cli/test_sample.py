"""Test `deeprelax sample`, and what a run of task=tokens tells at its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deeprelax.tasks.tokens.grammar import Grammar
from tests.quick import directory

Command = Callable[..., tuple[int, str, str]]
TINY = ["model.width=8", "model.depth=1", "model.heads=2", "task.context=16", "hardware.threads=1"]
RUN = ["train", "task=tokens", *TINY, "task.characters=2000", "epochs=0.5", "optimizer=adamw"]


@pytest.fixture
def run(deeprelax: Command) -> Path:
    """A short run on the shipped text."""
    assert deeprelax(*RUN)[0] == 0
    return directory()


def test_a_run_tells_its_floor_and_a_sample(deeprelax: Command) -> None:
    status, out, err = deeprelax(*RUN)
    assert (status, err) == (0, "")
    result = json.loads((directory() / "result.json").read_text())
    assert result["floor"] == Grammar().floor
    assert len(result["sample"]) == 200
    assert (result["dataset"], result["model"], result["windows"]) == ("none", "transformer", 111)
    told = f"floor 1.2724\nsample: {result['sample']}\n"
    assert out.endswith(told)
    assert f"test bits {result['test_bits']:.4f}  " in out
    assert told in deeprelax(*RUN)[1]  # a finished run
    assert deeprelax("sample", str(directory()))[1] == result["sample"] + "\n"  # the same seed, 0, and the same length


def test_a_sample_is_a_function_of_its_arguments(run: Path, deeprelax: Command) -> None:
    def sample(*words: str) -> str:
        status, out, err = deeprelax("sample", str(run), "--length", "60", *words)
        assert (status, err) == (0, "")
        return out

    prompted = sample("--prompt", "3+4=", "--seed", "3")
    assert prompted == sample("--prompt", "3+4=", "--seed", "3") != sample("--prompt", "3+4=", "--seed", "4")
    assert prompted.startswith("3+4=")
    assert len(prompted) == len("3+4=") + 60 + 1
    assert sample("--temperature", "0", "--seed", "1") == sample("--temperature", "0", "--seed", "2")
    assert sample("--temperature", "5", "--seed", "1") != sample("--seed", "1")
    assert "--prompt TEXT" in deeprelax("sample", "--help")[1]


def test_what_cannot_be_sampled_is_said_in_a_sentence(run: Path, deeprelax: Command) -> None:
    for words, message in [
        (["nowhere"], "nowhere is not a directory: give the directory of a run"),
        ([], "the following arguments are required: RUN: see deeprelax sample --help"),
        ([str(run), "--prompt", "3-1="], "the training text has no '-': it is written with ()+0123456789;=[]{}"),
        ([str(run), "--temperature", "-1"], "--temperature -1 is out of range: it must be a finite number >= 0"),
        ([str(run), "--temperature", "inf"], "--temperature inf is out of range"),
        ([str(run), "--length", "0"], "--length 0 is out of range: it must be an integer from 1 to 1000000"),
        ([str(run), "--length", "x"], "argument --length: invalid int value: 'x': see deeprelax sample --help"),
    ]:
        status, out, err = deeprelax("sample", *words)
        assert (status, out, err.count("\n")) == (1, "", 1), err
        assert err.startswith(f"deeprelax: {message}")
    (run / "checkpoint.pt").unlink()
    assert "the run has reached no checkpoint yet" in deeprelax("sample", str(run))[2]


def test_a_run_of_another_task_writes_no_text(deeprelax: Command) -> None:
    assert deeprelax("train", "task=diagonal", "epochs=1", "hardware.threads=1")[0] == 0
    status, _, err = deeprelax("sample", str(directory()))
    assert (status, err.count("\n")) == (1, 1)
    assert "is a run of task=diagonal, whose network writes no text: take one of task=tokens" in err


def test_a_text_of_ones_own_from_the_command_line(deeprelax: Command, tmp_path: Path) -> None:
    text = "Das Meer erglänzte weit hinaus.\n" * 60
    (tmp_path / "own.txt").write_text(text, encoding="utf-8")
    words = ["train", "task=tokens", *TINY, "task.path=own.txt", "task.validation_share=0.1", "epochs=1"]
    status, out, err = deeprelax(*words)
    assert (status, err) == (0, "")
    assert "floor" not in out
    result = json.loads((directory() / "result.json").read_text())
    assert set(result["sample"]) <= set(text)
    assert {"test_bits", "test_accuracy", "validation_bits"} <= set(result)
    assert deeprelax("sample", str(directory()), "--prompt", "Das ")[1].startswith("Das ")
    assert deeprelax("evaluate", str(directory()))[1].endswith("as in result.json\n")
    (tmp_path / "own.txt").write_text(text + "Ende", encoding="utf-8")
    status, _, err = deeprelax("sample", str(directory()))
    assert (status, err.count("\n")) == (1, 1)
    assert err.endswith("was trained on: has task.path been changed?\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task.path=nowhere.txt"], "task.path=nowhere.txt is not a file: give a text file, or leave it out"),
        (["task.context=256", "task.characters=10000"], "task.context=256 is longer than the network takes, model."),
        (["model.heads=3"], "model: transformer refuses its keys: heads must divide width, and 3 does not divide 8"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_said_in_a_sentence(words: list[str], message: str, deeprelax: Command) -> None:
    status, _, err = deeprelax("train", "task=tokens", *TINY, *words)
    assert (status, err.count("\n")) == (1, 1), err
    assert err.startswith(f"deeprelax: {message}")
