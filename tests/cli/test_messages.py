"""Test the messages of the command line: commands, help, and one line for each kind of mistake."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import deeprelax as package
from deeprelax import tasks
from deeprelax.cli import COMMANDS, main
from deeprelax.optim import CHOICES

Command = Callable[..., tuple[int, str, str]]
OFFERED = sorted([*CHOICES, "custom"])

KEYS = (
    "name, options, groups, decay_norms_and_biases, lr, gamma, inner_steps, inner_lr, temperature, averaging, "
    "momentum, nesterov, inner_momentum, weight_decay, scoping, seed, outer, betas, eps, decoupled_weight_decay, "
    "inner, inner_betas, inner_eps, inner_state"
)
TOP = (
    "task, dataset, model, optimizer, schedule, hardware, train, epochs, batch_size, seed, name, tags, data_dir, "
    "output_dir, continue_from, init_from, force, deterministic"
)
MISTAKES = {
    "optimizer.lrr=1": "optimizer.lrr is not a key (did you mean optimizer.lr?): "
    f"the keys of optimizer=entropy_sgd are {KEYS}",
    "+optimizer.gama=1": "optimizer.gama is not a key (did you mean optimizer.gamma?): "
    f"the keys of optimizer=entropy_sgd are {KEYS}",
    "++optimizer.zzz=1": f"optimizer.zzz is not a key: the keys of optimizer=entropy_sgd are {KEYS}",
    "optimzer=sgd": f"optimzer is not a key (did you mean optimizer?): the keys there are {TOP}",
    "+epoch=3": f"epoch is not a key (did you mean epochs?): the keys there are {TOP}",
    "optimizer=sdg": f"optimizer=sdg is not a choice (did you mean sgd?): one of {', '.join(OFFERED)}",
    "optimizer.name=entropy_sdg": "optimizer.name=entropy_sdg is unknown (did you mean entropy_sgd?): one of "
    f"{', '.join(CHOICES)}, or your own as package.module:Name",
    "dataset=mnits": "dataset=mnits is not a choice (did you mean mnist?): one of cifar10, cifar100, custom, "
    "digits, fashion_mnist, image_folder, mnist, none",
    "optimizer.lr=abc": "optimizer.lr: value 'abc' of type 'str' could not be converted to Float",
    "optimizer.inner_steps=2.5": "optimizer.inner_steps: value '2.5' of type 'float' could not be converted to Integer",
    "optimizer.lr=-1": "optimizer.lr=-1.0 is out of range: it must be a number >= 0 and at most 3.4e+38, or null",
    "optimizer.averaging=1": "optimizer.averaging=1.0 is out of range: it must be a number in [0, 1)",
    "epochs=0": "epochs=0.0 is out of range: it must be a number > 0 and at most 1e+06",
    "epochs=1e308": "epochs=1e+308 is out of range: it must be a number > 0 and at most 1e+06",
    "seed=-1": "seed=-1 is out of range: it must be an integer from 0 to 1000000000",
    "seed=???": "seed has no value: give one as seed=VALUE",
    "output_dir=": "output_dir= is out of range: it must be the path of a folder",
    "output_dir=???": "output_dir has no value: give one as output_dir=VALUE",
    "optimizer.lr=${foo}": "optimizer.lr: Interpolation key 'foo' not found",
    "model.name=mlp": "model.name=mlp does not go with the keys of the choice made: write model=mlp",
    "optimizer.name=sgd": "optimizer.name=sgd does not go with the keys of the choice made: write optimizer=sgd",
    "model.name=.x:Net": "model.name=.x:Net cannot be read: write package.module:Name",
    "hardware.threads=100000": "hardware.threads=100000 is out of range: it must be an integer from 1 to 4096",
    "hardware.precision=fp8": "hardware.precision=fp8 is out of range: it must be float32, tf32, bfloat16 or float64",
    "optimizer.lr=???": "optimizer.lr has no value: give one as optimizer.lr=VALUE",
    "model=custom": "model.name has no value: give one as model.name=VALUE",
    "~optimizer.gamma": "~optimizer.gamma: a key of the schema cannot be removed",
    "~optimizer.lr": "~optimizer.lr: nothing can be removed there, a key has a value: optimizer.lr=VALUE",
    "optimizer.gamma=null": "optimizer.gamma=null is no value here: give it one",
    "optimizer.outer=sgd": "optimizer.outer=sgd is out of range: it must be momentum or adamw",
    "optimizer.betas=[0.9,1]": "optimizer.betas=[0.9, 1.0] is out of range: it must be two numbers in [0, 1)",
    "x==": "x== cannot be read: write KEY=VALUE, and quote a value with special characters, as 'x=\"=\"'",
    "experiment=mnist": "experiment=mnist is not a choice",
}


@pytest.mark.parametrize("override", MISTAKES)
def test_a_mistake_gets_one_sentence_before_anything_is_touched(
    override: str, deeprelax: Command, tmp_path: Path
) -> None:
    status, out, err = deeprelax("train", override)
    assert status == 1
    assert out == ""
    if override == "experiment=mnist":
        assert re.fullmatch(rf"deeprelax: {MISTAKES[override]}( \(did you mean \w+\?\))?: one of [\w, ]+\n", err)
    else:
        assert err == f"deeprelax: {MISTAKES[override]}\n"
    assert list(tmp_path.rglob("*")) in ([], [tmp_path / "outputs"])


def test_every_optimizer_refuses_what_its_constructor_refuses(deeprelax: Command) -> None:
    for optimizer, key, value in [("heat", "samples", "0"), ("hj", "gamma", "0"), ("pde_relaxed", "equation", "wave")]:
        status, _, err = deeprelax("train", f"optimizer={optimizer}", f"optimizer.{key}={value}")
        assert status == 1
        assert err.startswith(f"deeprelax: optimizer.{key}=")
        assert "is out of range" in err


def test_without_arguments_and_with_an_unknown_command_the_commands_are_listed(deeprelax: Command) -> None:
    status, listing, _ = deeprelax()
    assert status == 0
    assert re.search(r"^  train  +train a network", listing, re.MULTILINE)
    assert re.search(r"^  evaluate  +evaluate a finished run", listing, re.MULTILINE)
    assert deeprelax("--help") == (0, listing, "")
    status, out, err = deeprelax("trian")
    assert (status, out) == (1, "")
    assert err == f"deeprelax: trian is not a command (did you mean train?)\n\n{listing}"


def test_a_missing_data_folder_is_one_sentence(
    deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    status, _, err = deeprelax("train", "dataset=mnist", f"data_dir={tmp_path}/nowhere")
    assert status == 1
    assert re.fullmatch(
        r"deeprelax: \S+train-images-idx3-ubyte is missing and could not be downloaded \(.*\n", err.splitlines(True)[-1]
    )
    assert "Traceback" not in err


def test_evaluate_says_what_is_wrong(deeprelax: Command, tmp_path: Path) -> None:
    assert deeprelax("evaluate", "nowhere") == (
        1, "", "deeprelax: nowhere is not a directory: give the directory of a run\n",
    )  # fmt: skip
    status, _, err = deeprelax("evaluate", str(tmp_path))
    assert status == 1
    assert "config.yaml is not there" in err
    assert "evaluate takes one run directory, not 2 (a b)" in deeprelax("evaluate", "a", "b")[2]
    assert "Usage: deeprelax evaluate RUN" in deeprelax("evaluate")[1]


def in_a_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], [], ["train", "--help"], ["train", "--cfg", "job"]])
def test_help_imports_no_torch(arguments: list[str]) -> None:
    out = in_a_process(
        "import sys; from deeprelax.cli import main\n"
        f"status = main({arguments})\n"
        "heavy = {'torch', 'torchvision', 'sklearn', 'matplotlib', 'scipy', 'tensorboard'} & set(sys.modules)\n"
        "print('status', status, 'heavy', heavy)"
    )
    assert out.endswith("status 0 heavy set()\n")


def test_python_m_does_the_same() -> None:
    out = subprocess.run([sys.executable, "-m", "deeprelax", "--version"], check=True, capture_output=True, text=True)
    assert out.stdout == f"deeprelax {package.__version__}\n"


@pytest.mark.parametrize("arguments", [[], *([each] for each in COMMANDS), ["train", "seed=1"], ["pde", "smooth"]])
@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_ours_behind_every_command(arguments: list[str], flag: str, deeprelax: Command) -> None:
    assert deeprelax(*arguments, flag) == (0, f"deeprelax {package.__version__}\n", "")


def test_the_version_of_no_command() -> None:
    assert main(["trian", "--version"]) == 1


def test_train_help_names_every_choice(deeprelax: Command) -> None:
    status, out, _ = deeprelax("train", "--help")
    assert status == 0
    text = " ".join(out.split())
    assert f" task: {', '.join(sorted([*tasks.CHOICES, 'custom']))} " in text
    assert f" optimizer: {', '.join(OFFERED)} " in text
    assert " dataset: cifar10, cifar100, custom, digits, fashion_mnist, image_folder, mnist, none " in text
    assert " experiment: " in text
    assert "schema" not in text
