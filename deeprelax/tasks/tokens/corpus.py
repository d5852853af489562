"""A text as integers, and its parts: for training, validation and testing, one after another."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from torch import Tensor

from ...errors import UserError

UNKNOWN = 0  # stands for every character that the training part has not


@dataclass(frozen=True, slots=True)
class Corpus:
    """A text whose last shares are held out: int32 (characters,) of each part, and a digest of the text.

    Token i > 0 is vocabulary[i - 1], the characters of the training part in order of their code points.
    """

    vocabulary: str
    parts: dict[str, Tensor]
    starts: dict[str, int]  # where each part begins in the text
    digest: str


def corpus(text: str, context: int, test: float, validation: float) -> Corpus:
    """The first characters of a text are for training, the last share `test` for testing, `validation` before it.

    Raises UserError for a text that has no windows of `context` characters to train on, or nothing to score.
    """
    total = len(text)
    last, middle = round(total * test), round(total * validation)
    starts = {"train": 0, **({"validation": total - last - middle} if validation else {}), "test": total - last}
    spans = dict(zip(starts, itertools.pairwise([*starts.values(), total]), strict=True))
    for name, (start, end) in spans.items():
        least = 2 * context + 1 if name == "train" else 2
        if end - start < least:
            raise UserError(
                f"a text of {total} characters leaves {max(0, end - start)} to {name}, and with task.context={context} "
                f"{least} are needed there: give more text, or change that key or the shares"
            )
    points = numpy.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    known = numpy.unique(points[: spans["train"][1]])  # sorted
    place = numpy.searchsorted(known, points).clip(max=len(known) - 1)
    tokens = torch.from_numpy(numpy.where(known[place] == points, place + 1, UNKNOWN).astype("int32"))
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    parts = {name: tokens[start:end] for name, (start, end) in spans.items()}
    return Corpus("".join(map(chr, known)), parts, starts, digest)


def encoded(text: str, vocabulary: str) -> Tensor:
    """Tokens int64 (characters,). Raises UserError for characters that are not in the vocabulary."""
    if unknown := sorted(set(text) - set(vocabulary)):
        shown = ", ".join(map(repr, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        raise UserError(f"the training text has no {shown}: it is written with {shown_vocabulary(vocabulary)}")
    return torch.tensor([vocabulary.index(each) + 1 for each in text], dtype=torch.int64)


def decoded(tokens: Sequence[int], vocabulary: str) -> str:
    """The text of tokens other than UNKNOWN."""
    return "".join(vocabulary[token - 1] for token in tokens)


def shown_vocabulary(vocabulary: str) -> str:
    """At most 60 of its characters, as Python would write them."""
    return repr(vocabulary[:60])[1:-1] + (" and others" if len(vocabulary) > 60 else "")


def read(path: str) -> str:
    """The text of a UTF-8 file. Raises UserError if it is missing, empty or of another encoding."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"task.path={path} is not a file: give a text file, or leave it out for a text of ours")
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"task.path={path} is not UTF-8: byte {error.start} cannot be read; save it in that encoding"
        ) from None
    if not text:
        raise UserError(f"task.path={path} is empty: give a file with a text")
    return text
