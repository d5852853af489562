"""Find in the arguments of a command what is typed by mistake for KEY=VALUE, and say what to write."""

from __future__ import annotations

import re
import shlex
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig, OmegaConf

from ..errors import UserError
from .messages import keys_below, keys_of_type

FLAGS_WITH_VALUE = {
    "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd",
    "--experimental-rerun",
}  # fmt: skip
INFINITE = re.compile(r"(?<![\w.])\.inf(?![\w.])", re.IGNORECASE)
UNFINISHED, CONTINUING = (",", "=", "[", "("), (",", "=", "]", ")")  # where a word ends, or begins, that is half of one


def apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The overrides, and Hydra's flags with their values.

    Hydra's parser wants positional arguments in one piece: of `seed=1 -m epochs=2` it would refuse the last; and of
    `--info seed=1` it would take `seed=1` for the value of the flag.
    """
    flags: list[str] = []
    overrides: list[str] = []
    takes_a_value = False
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        (flags if argument.startswith("-") or takes_a_value else overrides).append(argument)
        takes_a_value = argument in FLAGS_WITH_VALUE or (argument in ("--info", "-i") and "=" not in following)
    return overrides, flags


def options(flags: Sequence[str]) -> Namespace:
    """What Hydra's parser reads of its flags. Others pass, as the beginnings of names that it would take, too."""
    parser = get_args_parser()
    parser.allow_abbrev = False
    return parser.parse_known_args(list(flags))[0]


def refuse_flags(arguments: Sequence[str], configured: Callable[[], DictConfig | None]) -> None:
    """Raise UserError for a key that is written as a flag, `--epochs 5`, and for a flag that nobody knows.

    configured: the configuration among whose keys it is looked for, None if there is none.
    """
    known = [option for action in get_args_parser()._actions for option in action.option_strings]
    _, flags = apart(arguments)
    for flag in (each for each in flags if each.startswith("-") and each != "-"):
        word, equals, value = flag.partition("=")
        key = word.lstrip("-").replace("-", "_")
        # argparse takes the beginning of a long option, --experiment too, and the value of a short one without a space
        begins = (option.startswith(word) if word.startswith("--") else word.startswith(option) for option in known)
        if word in known or (any(begins) and key != "experiment"):
            continue
        following = next(iter(arguments[arguments.index(flag) + 1 :]), "")
        has_value = not equals and following and "=" not in following and not following.startswith("-")
        shown = f"{flag} {following}" if has_value else flag
        config = configured()
        own = (config is not None and key in config) or key == "experiment"
        meant = [key] if own else keys_below(config, key)
        if len(meant) != 1:
            raise UserError(f"{shown} is not an option: keys are written KEY=VALUE, without dashes; see --help")
        switch = config is not None and isinstance(OmegaConf.select(config, meant[0]), bool)
        value = value if equals else following if has_value else "true" if switch else "VALUE"
        raise UserError(f"{shown} is not an option: a key has no dashes, write {shlex.quote(f'{meant[0]}={value}')}")


def refuse_spaces(overrides: Sequence[str]) -> None:
    """Raise UserError where a space has cut an override in two, as in `seed=0, 1` and `epochs = 5`."""
    for pieces in _pieces(overrides):
        if len(pieces) > 1:
            whole = shlex.quote("".join(pieces))
            raise UserError(f"{' '.join(pieces)} has a space, at which the shell ends a word: write {whole}")


def _pieces(words: Sequence[str]) -> Iterator[list[str]]:
    """Each override with the words behind it that belong to it."""
    pieces: list[str] = []
    for word in words:
        halves = pieces and (pieces[-1].endswith(UNFINISHED) or word.startswith(CONTINUING))
        if halves and ("=" not in word or word.startswith("=")):  # with a key of its own it is another override
            pieces.append(word)
        else:
            yield pieces
            pieces = [word]
    yield pieces


def with_infinity(override: str) -> str:
    """YAML's .inf as inf, which Hydra's grammar has, in the value of a key that holds floats."""
    key, equals, value = override.partition("=")
    return f"{key}={INFINITE.sub('inf', value)}" if equals and key.lstrip("+") in keys_of_type("float") else override
