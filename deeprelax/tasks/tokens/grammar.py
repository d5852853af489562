"""A random text whose entropy is known: sums of one-digit numbers and nested brackets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...randomness import Purpose, derive_seed

DIGITS = "0123456789"
PAIRS = {"(": ")", "[": "]", "{": "}"}
END = ";"
_BLOCK = 2**16  # random numbers drawn at a time


@dataclass(frozen=True, slots=True)
class Grammar:
    """Sentences one after another, each independent of the others, as "3+5=8;" and "[(){}];".

    With probability `sums` a sentence is a+b=c; with digits a and b, uniform, and c = a + b; else it is one tree of
    brackets and an end. Whenever a bracket is open, another one opens with probability `nested`, its kind uniform among
    three, else the innermost one closes.

    Each choice is read off from one character, when it comes, and all other characters follow from those before them.
    So a text and its choices are one to one, and its entropy is that of the choices. With m = nested/(1 - nested)
    children on average a tree has T = 1/(1 - m) pairs, chooses T kinds, and decides 2T - 1 times whether to open: T
    times to close, T - 1 times to open once more.

        bits of a sentence   H2(sums) + sums 2 log2(10) + (1 - sums) (T log2(3) + (2T - 1) H2(nested))
        its characters       sums (6 + 45/100) + (1 - sums) (2T + 1)

    H2 is the entropy of a yes or no. Sentences are independent and of the same law, so bits by characters is the
    entropy rate: no predictor needs fewer bits a character on average, however much it has seen.

    Raises ValueError unless 0 <= sums <= 1 and 0 <= nested < 1/2, where T is finite.
    """

    sums: float = 0.5
    nested: float = 1 / 3

    def __post_init__(self) -> None:
        if not 0 <= self.sums <= 1 or not 0 <= self.nested < 0.5:
            raise ValueError(f"sums must be in [0, 1] and nested in [0, 1/2), not {self.sums} and {self.nested}")

    @property
    def pairs(self) -> float:
        """T, the mean number of pairs of brackets in a tree."""
        return (1 - self.nested) / (1 - 2 * self.nested)

    @property
    def bits_of_a_sentence(self) -> float:
        """Its entropy."""
        tree = self.pairs * math.log2(len(PAIRS)) + (2 * self.pairs - 1) * _entropy(self.nested)
        return _entropy(self.sums) + self.sums * 2 * math.log2(10) + (1 - self.sums) * tree

    @property
    def characters_of_a_sentence(self) -> float:
        """Their mean number."""
        return self.sums * 6.45 + (1 - self.sums) * (2 * self.pairs + 1)

    @property
    def floor(self) -> float:
        """The entropy rate, in bits a character."""
        return self.bits_of_a_sentence / self.characters_of_a_sentence

    def text(self, length: int, seed: int) -> str:
        """The first `length` characters of the endless text of this seed."""
        numbers, pieces, count = _uniform(seed), [], 0
        while count < length:
            piece = self._sentence(numbers)
            pieces.append(piece)
            count += len(piece)
        return "".join(pieces)[:length]

    def _sentence(self, numbers: Iterator[float]) -> str:
        if next(numbers) < self.sums:
            a, b = int(10 * next(numbers)), int(10 * next(numbers))
            return f"{a}+{b}={a + b}{END}"
        kinds = list(PAIRS)
        written = [kinds[int(3 * next(numbers))]]
        opened = written.copy()
        while opened:
            if next(numbers) < self.nested:
                opened.append(kinds[int(3 * next(numbers))])
                written.append(opened[-1])
            else:
                written.append(PAIRS[opened.pop()])
        return "".join(written) + END

    def bits(self, text: str) -> Tensor:
        """-log2 of the probability of each character given all before it, float64 (characters,).

        Of the ideal predictor, which knows the grammar; the text begins with a sentence and may break off in one.
        Raises ValueError for a text that the grammar cannot write.
        """
        reader, found = Reader(self), []
        for i, character in enumerate(text):
            p = reader.next.get(character, 0.0)
            if not p:
                raise ValueError(f"character {i} of the text, {character!r}, cannot stand there")
            found.append(-math.log2(p))
            reader.take(character)
        return torch.tensor(found, dtype=torch.float64)


class Reader:
    """The ideal predictor: `next` has the probability of each character that may come after what was taken."""

    def __init__(self, grammar: Grammar) -> None:
        kinds = dict.fromkeys(PAIRS, grammar.nested / len(PAIRS))
        self._start = dict.fromkeys(DIGITS, grammar.sums / 10) | dict.fromkeys(PAIRS, (1 - grammar.sums) / len(PAIRS))
        self._inside = {close: {close: 1 - grammar.nested, **kinds} for close in PAIRS.values()}
        self._digits = dict.fromkeys(DIGITS, 0.1)
        self._certain = ""  # what must come now
        self._opened: list[str] = []  # the brackets that close what is open
        self._operand: int | None = None  # the first of a sum whose second has not come
        self.next: dict[str, float] = self._start

    def take(self, character: str) -> None:
        """Read one of the characters of `next`."""
        if self._certain:
            self._certain = self._certain[1:]
        elif self._operand is not None:
            self._certain, self._operand = f"={self._operand + int(character)}{END}", None
        elif character in PAIRS:
            self._opened.append(PAIRS[character])
        elif self._opened:
            self._opened.pop()
            self._certain = "" if self._opened else END
        else:
            self._certain, self._operand = "+", int(character)
        if self._certain:
            self.next = {self._certain[0]: 1.0}
        elif self._opened:
            self.next = self._inside[self._opened[-1]]
        else:
            self.next = self._start if self._operand is None else self._digits


def _entropy(p: float) -> float:
    """H2, in bits."""
    return -sum(q * math.log2(q) for q in (p, 1 - p) if q)


def _uniform(seed: int) -> Iterator[float]:
    """Endless numbers in [0, 1)."""
    generator = torch.Generator().manual_seed(derive_seed(seed, Purpose.PROBLEM))
    blocks = (torch.rand(_BLOCK, generator=generator, dtype=torch.float64).tolist() for _ in itertools.count())
    return itertools.chain.from_iterable(blocks)
