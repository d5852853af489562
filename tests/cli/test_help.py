"""The help of the Hydra commands: every key with its meaning and range, by the files of configs/ and the schema."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from deeprelax.configuration.comments import Choices, read
from deeprelax.configuration.schema import configuration_folder
from deeprelax.pde.experiments import COMMANDS

Command = Callable[..., tuple[int, str, str]]
FOLDER = configuration_folder()
GROUPS = ("dataset", "hardware", "model", "optimizer", "schedule", "task", "pde")
FILES = ["train", "bench", "pde", *(f"{g}/{f.stem}" for g in GROUPS for f in sorted((FOLDER / g).glob("*.yaml")))]


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def flowing(text: str) -> str:
    """Without the breaks of lines."""
    return " ".join(text.split())


@pytest.mark.parametrize("path", FILES)
def test_every_key_has_a_comment_and_every_choice_a_head(path: str) -> None:
    said = Choices([FOLDER]).comments(path)
    content = yaml.safe_load((FOLDER / f"{path}.yaml").read_text(encoding="utf-8"))
    apart = {"defaults", "hydra", "name", "options"} | {
        "train",
        "schedule",
        "model",
        "optimizer",
    }  # groups in train.yaml
    of_command = {**read(FOLDER / "train.yaml").keys, **said.keys} if path.startswith("schedule") else said.keys
    told = {key.removeprefix("schedule.") for key, comment in of_command.items() if comment}
    assert content.keys() - apart - told == set()
    assert said.head or path in ("hardware/default",)


def test_comments_behind_a_key_go_on_and_a_block_above_it_counts(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(
        "# @package _global_\n# One.\n# Two.\ndefaults:\n  - a  # no key\n  # nor this\n"
        'a: "#1"  # first\n     # line\n\n'
        "# above\nb:\n  c: 1 # deep\nd: 2\n"
    )
    found = read(file)
    assert found.head == "One. Two."
    assert {key: said for key, said in found.keys.items() if key != "defaults"} == {
        "a": "first line", "b": "above", "b.c": "deep", "d": "",
    }  # fmt: skip


def test_all_keys_with_meaning_unit_and_range(deeprelax: Command) -> None:
    status, out, err = deeprelax("train", "--help")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 104
    text = flowing(out)
    for line in (
        "optimizer=entropy_sgd Entropy-SGD: descent on local entropy",
        "optimizer.inner_steps=20 L, gradient evaluations of one outer step [an integer >= 1]",
        "optimizer.seed=${seed} of the Langevin noise",
        "optimizer.betas=[0.9,0.999] ",
        "train.checkpoint_seconds=60 seconds between checkpoints at most; null: no limit [a finite number > 0]",
        "hardware.device=auto auto (a GPU if there is one), cpu or cuda hardware.devices=1",  # not said twice
        "force=false start again although the run is finished [true or false]",
        "continue_from=null directory of a finished run, or the one above its seeds: continue from its end to a larger",
    ):
        assert line in text, line
    values = yaml.safe_load(deeprelax("train", "--cfg", "job")[1])
    keys = {f"{group}.{key}" for group, each in values.items() if isinstance(each, dict) for key in each}
    keys |= {key for key, value in values.items() if not isinstance(value, dict)}
    shown = set(re.findall(r"^  ([\w.]+)=", out, re.MULTILINE))
    assert keys - shown == {f"{g}.{k}" for g in ("task", "dataset", "model", "optimizer") for k in ("name", "options")}


def test_the_keys_of_the_choices_that_are_given(deeprelax: Command) -> None:
    status, out, _ = deeprelax("train", "optimizer=heat", "optimizer.sigma=0.5", "--help")
    assert status == 0
    assert out.startswith("optimizer=heat\n  Heat: descent on the loss smoothed by a Gaussian. ")
    assert "optimizer.sigma=0.5 standard deviation of the smoothing; in units of each filter's norm" in flowing(out)
    assert "inner_steps" not in out
    assert "All choices and keys: deeprelax train --help\n" in out
    swept = deeprelax("train", "-m", "optimizer=heat,sgd", "optimizer.sigma=0.5,1", "--help")
    assert swept == (0, out, "")  # of the first job
    own = flowing(deeprelax("train", "model=custom", "--help")[1])
    assert "model.name=??? package.module:Name, called as Name(channels, image_size, classes, **options)" in own


def test_an_experiment_says_what_it_is_and_gives_its_values(deeprelax: Command) -> None:
    status, out, _ = deeprelax("train", "experiment=mnist_lenet", "--help")
    assert status == 0
    assert out.startswith("experiment=mnist_lenet\n  LeNet on MNIST, 10 passes")
    assert "\n  epochs=10 " in out
    assert "\ndataset=mnist\n" in out


def test_mistakes_are_told_in_help_too(deeprelax: Command) -> None:
    assert deeprelax("train", "optimizer=sdg", "--help")[2].startswith(
        "deeprelax: optimizer=sdg is not a choice (did you"
    )
    assert deeprelax("train", "--config-dir", "nowhere", "--help")[2] == (
        "deeprelax: --config-dir nowhere is not a folder: give the one that holds your own choices\n"
    )


def test_choices_of_ones_own_are_listed_with_the_meanings_of_what_they_extend(
    deeprelax: Command, tmp_path: Path
) -> None:
    for group, text in {
        "optimizer": "# Mine.\ndefaults:\n  - heat\n  - _self_\nsigma: 3.0  # of mine\nsamples: 2\n",
        "experiment": "# @package _global_\nepochs: 1\n",
        "things": "# @package _global_\nepochs: 1\n",
    }.items():
        (tmp_path / "it's mine" / group).mkdir(parents=True)
        (tmp_path / "it's mine" / group / "tiny.yaml").write_text(text)
        (tmp_path / "it's mine" / group / "other.yaml").write_text(text)
    own = ["--config-dir", "it's mine", "--help"]
    status, out, err = deeprelax("train", *own)
    assert (status, err) == (0, "")
    assert re.search(r" optimizer: [\w, ]*, lbfgs, [\w, ]*other, [\w, ]*, sgd, [\w, ]*tiny recipe: ", flowing(out))
    assert "symbolic_wave, tiny, tokens model: " in flowing(out)
    assert "  things: other, tiny\n" in out
    out = flowing(deeprelax("train", "optimizer=tiny", *own)[1])
    assert out.startswith("optimizer=tiny Mine. ")
    assert "optimizer.sigma=3 of mine [a number >= 0] optimizer.samples=2 gradient evaluations of one outer step" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_pde_help_says_what_it_does_and_writes(command: str, deeprelax: Command) -> None:
    status, out, err = deeprelax("pde", command, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"deeprelax pde {command}\n  ")
    assert " Writes " in flowing(out)
    assert f"Usage: deeprelax pde {command} [KEY=VALUE ...]" in out
    content = yaml.safe_load((FOLDER / "pde" / f"{command}.yaml").read_text())
    for key in content.keys() - {"defaults"}:
        assert re.search(rf"^  {key}=\S+( .+|$)", out, re.MULTILINE), key
    assert "  output_dir=outputs " in out


def test_bench_help(deeprelax: Command) -> None:
    out = flowing(deeprelax("bench", "--help")[1])
    assert "repeats=5 of each measurement; medians are shown [an integer from 1 to 1000]" in out
    assert "optimizers.KEY=VALUE What is measured, each as ROW: {name: NAME, KEY: VALUE, ...}." in out
    assert "[now sgd, entropy_sgd, " in out
