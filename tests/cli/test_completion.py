"""Test completion in bash: what `eval "$(deeprelax --shell-completion install=bash)"` makes of the tab key."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deeprelax.cli import COMMANDS

Command = Callable[..., tuple[int, str, str]]
BASH = shutil.which("bash")

# line up to the cursor: (some of what is offered, some of what is not)
LINES = {
    "deeprelax ": (set(COMMANDS), {"trian"}),
    "deeprelax tr": ({"train"}, {"runs"}),
    "deeprelax train opt": ({"optimizer.", "optimizer="}, {"output_dir="}),
    "deeprelax train ": ({"dataset=", "seed=", "experiment="}, {"pde=", "schema", "preset/", "sweep="}),
    "deeprelax train optimizer=": ({"optimizer=sgd", "optimizer=custom"}, {"optimizer="}),
    "deeprelax train dataset=": ({"dataset=mnist"}, {"dataset=_defaults"}),
    "deeprelax train optimizer=hj optimizer.ga": ({"optimizer.gamma="}, {"optimizer.lr="}),
    "deeprelax train optimizer=sgd optimizer.": ({"optimizer.lr="}, {"optimizer.gamma="}),
    "deeprelax train -m optimizer=sgd,hj see": ({"seed="}, set()),
    "deeprelax train epochs=1 -m seed=0,1 dataset=mn": ({"dataset=mnist"}, {"dataset=digits"}),
    "deeprelax train model=custom model.options.width=3 'model.name=a:B' see": ({"seed="}, set()),
    "deeprelax train +sweep=tune_h": ({"+sweep=tune_hj", "+sweep=tune_heat"}, {"+sweep=tune_sgd"}),
    "deeprelax train --config-dir mine experiment=": ({"experiment=tiny", "experiment=smoke"}, set()),
    "deeprelax find-lr --from 1e-4 optimizer=hj optimizer.ga": ({"optimizer.gamma="}, {"optimizer.lr="}),
    "deeprelax find-lr ": ({"dataset=", "optimizer=", "experiment="}, {"pde=", "schema"}),
    "deeprelax bench ": ({"model=", "repeats="}, {"optimizer=", "task="}),
    "deeprelax pde ": ({"smooth", "verify"}, {"train"}),
    "deeprelax pde smooth time=0.1,0.2 ": ({"problem=", "dimension="}, {"optimizer=", "seed="}),
    "deeprelax data cifar10 ": ({"mnist"}, {"train"}),
    "deeprelax runs outputs --": ({"--tag", "--clean", "--yes"}, {"--metric"}),
    "deeprelax compare outputs --t": ({"--tag"}, {"--metric"}),
    "deeprelax data --c": ({"--clean"}, {"--yes"}),
    "deeprelax train optimizer=sgd ta": ({"tags=", "task="}, {"name="}),
}
NOTHING = [
    "", "deeprelax nonsense ", "deeprelax evaluate out", "deeprelax train 'a", "deeprelax train --cf",
    "deeprelax train --config-dir ", "deeprelax train optimizer=nonsense see", "deeprelax train a==b see",
    "deeprelax pde nonsense ", "deeprelax find-lr --st", "deeprelax find-lr --steps ",
]  # fmt: skip


def offered(line: str, deeprelax: Command, monkeypatch: pytest.MonkeyPatch, rest: str = "") -> set[str]:
    monkeypatch.setenv("COMP_LINE", line + rest)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    status, out, err = deeprelax("--shell-completion", "query=bash")
    assert (status, err) == (0, "")
    return set(out.splitlines())


@pytest.mark.parametrize("line", LINES)
def test_what_is_offered(line: str, deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mine/experiment").mkdir(parents=True)
    Path("mine/experiment/tiny.yaml").write_text("# @package _global_\nepochs: 1\n")
    some, none = LINES[line]
    found = offered(line, deeprelax, monkeypatch, "behind the cursor")
    assert some <= found
    assert not none & found
    assert all(word.startswith(line.rpartition(" ")[2]) for word in found)


@pytest.mark.parametrize("line", NOTHING)
def test_where_nothing_is_offered_bash_completes_names_of_files(
    line: str, deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert offered(line, deeprelax, monkeypatch) == set()


def in_bash(folder: Path, code: str) -> list[str]:
    """The lines that a bash prints which has our completion, and `deeprelax` in its path."""
    assert BASH is not None
    program = folder / "bin" / "deeprelax"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m deeprelax "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    begin = 'eval "$(deeprelax --shell-completion install=bash)"\n'
    done = subprocess.run(
        [BASH, "--norc", "-c", begin + code], capture_output=True, text=True, env=environment, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.skipif(BASH is None, reason="no bash here")
def test_in_a_bash(tmp_path: Path) -> None:
    """The function is called as the tab key calls it; `=` breaks no word there."""
    tab = (
        "complete -p deeprelax; [[ $COMP_WORDBREAKS == *=* ]] || echo unbroken\n"
        "for COMP_LINE in 'deeprelax tr' 'deeprelax train opt' 'deeprelax train optimizer=ad'; do\n"
        '  COMP_POINT=${#COMP_LINE}; _deeprelax deeprelax; echo "${COMPREPLY[@]}"\ndone\n'
    )
    assert in_bash(tmp_path, tab) == [
        "complete -o default -o nospace -F _deeprelax deeprelax",
        "unbroken",
        "train",
        "optimizer. optimizer=",
        "optimizer=adamw",
    ]


def test_behind_a_command_and_with_other_words(deeprelax: Command) -> None:
    status, script, err = deeprelax("--shell-completion", "install=bash")
    assert (status, err) == (0, "")
    assert deeprelax("train", "-sc", "install=bash") == (0, script, "")
    for words in (["-sc"], ["-sc", "install=tcsh"]):
        status, out, err = deeprelax(*words)
        assert (status, out) == (1, "")
        assert err == (
            f"deeprelax: {words[-1]} is no completion for bash: "
            'eval "$(deeprelax --shell-completion install=bash)" switches completion on\n'
        )
