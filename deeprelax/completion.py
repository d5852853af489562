"""Complete the command line in bash: commands, and the groups, choices and keys that Hydra knows.

Hydra completes lines of an application without sub-commands. So it gets the line without ours, and what it finds is
cleared of the groups of other commands.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from itertools import pairwise

FLAG = "--shell-completion"
# As in Hydra's own script `=` breaks no words. That one would leave no blank behind a command, and variables behind.
SCRIPT = """_deeprelax() {
    mapfile -t COMPREPLY < <(COMP_LINE=$COMP_LINE COMP_POINT=$COMP_POINT "$1" --shell-completion query=bash 2>/dev/null)
    [[ ${COMPREPLY[0]} == *[=./] ]] || compopt +o nospace 2>/dev/null
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _deeprelax deeprelax"""
HYDRA = ("train", "find-lr", "bench", "pde")  # the commands that are Hydra applications


def main(arguments: list[str], commands: Mapping[str, tuple[str, str]]) -> int:
    """Print the script that switches completion on, or what may follow the line in $COMP_LINE, a line each.

    arguments: `--shell-completion` with `install=bash` or `query=bash`. commands: those of the command line with their
    modules. Returns the exit status: 1, with a message, for other arguments.
    """
    match arguments[-1]:
        case "install=bash":
            print(SCRIPT)
        case "query=bash":
            line = os.environ.get("COMP_LINE", "")
            for word in candidates(line[: int(os.environ.get("COMP_POINT", len(line)))], commands):
                print(word)
        case wrong:
            advice = f'eval "$(deeprelax {FLAG} install=bash)" switches completion on'
            print(f"deeprelax: {wrong} is no completion for bash: {advice}", file=sys.stderr)
            return 1
    return 0


def candidates(line: str, commands: Mapping[str, tuple[str, str]]) -> list[str]:
    """What the last word of a command line may become; nothing where bash is to complete names of files."""
    try:
        _, *words = shlex.split(line)
    except ValueError:  # inside of quotes
        return []
    current = "" if line[-1:].isspace() else "".join(words[-1:])
    words = words if current == "" else words[:-1]
    if not words:
        return _beginning(current, commands)
    command, *before = words
    if command in commands and (command not in HYDRA or command == "find-lr") and current.startswith("-"):
        return _beginning(current, _flags(commands[command][0]))
    if command == "data":
        from .data.sources.catalog import CATALOG

        return _beginning(current, CATALOG)
    experiment = ""
    if command == "pde":
        from .pde.experiments import COMMANDS

        if not before:
            return _beginning(current, COMMANDS)
        experiment = before.pop(0)
        if experiment not in COMMANDS:
            return []
    if command not in HYDRA or current.startswith("-"):
        return []
    found = _beginning(current, _by_hydra(commands[command][0], experiment, before, current))
    from .configuration.messages import keys_of_type

    lists = keys_of_type("list[")  # of which Hydra offers the items
    found = [f"{each[:-1]}=" if each.endswith(".") and each[:-1] in lists else each for each in found]
    keys = _keys(command, experiment) if not current.startswith("+") else {"sweep"}
    # A choice whose name begins with _ is included by others
    return [each for each in found if re.split(r"[=./]", each.lstrip("+~"))[0] in keys and "=_" not in each]


def _beginning(current: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(current)]


def _flags(module: str) -> list[str]:
    """The flags of a command that has an argument parser, by its usage."""
    parser = getattr(importlib.import_module(module), "parser", None)
    return sorted(set(re.findall(r"--[a-z-]+", parser().format_usage()))) if parser else []


def _by_hydra(module: str, experiment: str, before: list[str], current: str) -> list[str]:
    """What Hydra offers behind the arguments `before`; nothing if these are wrong."""
    from .configuration.hydra_app import free
    from .configuration.slips import FLAGS_WITH_VALUE, apart

    if before and before[-1] in FLAGS_WITH_VALUE:
        return []
    if module.endswith("find_lr"):  # whose own options Hydra does not know
        try:
            with redirect_stdout(io.StringIO()):
                before = importlib.import_module(module).parser().parse_known_args(before)[1]
        except (argparse.ArgumentError, SystemExit):  # an option that lacks its value, or --help
            return []
    words, flags = apart(before)
    overrides = [free(word) for word in words]
    sweep = bool({"-m", "--multirun"} & set(flags))
    if experiment:
        from .commands.pde import as_list

        overrides = [f"pde={experiment}", *(as_list(experiment, each, sweep) for each in overrides)]
    os.environ["COMP_LINE"] = " ".join(["deeprelax", *["-m"] * sweep, *overrides, current])
    folders = [word for pair in pairwise(flags) if pair[0] in ("--config-dir", "-cd") for word in pair]
    out = io.StringIO()
    # A mistake in the line is reported when it is run: here it would be printed into the line that is being written
    with redirect_stdout(out), redirect_stderr(io.StringIO()), suppress(Exception, SystemExit):
        importlib.import_module(module).main([*[experiment] * bool(experiment), *folders, FLAG, "query=bash"])
    return out.getvalue().split()


def _keys(command: str, experiment: str) -> set[str]:
    """The first words of a command's keys and groups."""
    from .configuration.schema import BenchConf, TrainConf

    if command in ("train", "find-lr"):
        return {*TrainConf.__dataclass_fields__, "experiment", "recipe", "hydra"}
    if command == "bench":
        return {*BenchConf.__dataclass_fields__, "hydra"}
    from .pde import experiments

    return {*experiments.settings(experiment).__dataclass_fields__, "hydra"}
