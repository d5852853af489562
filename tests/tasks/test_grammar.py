"""The entropy of the shipped text: against its series, against an ideal predictor, and against all short sentences."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from deeprelax.tasks.tokens.grammar import DIGITS, END, PAIRS, Grammar, Reader

GRAMMARS = [Grammar(), Grammar(0.2, 0.45), Grammar(1.0, 0.0), Grammar(0.0, 0.4), Grammar(0.7, 0.0)]


def sentences_by_probability(grammar: Grammar, most: int) -> list[tuple[float, float, int]]:
    """How many sentences (its logarithm) have which log probability and length, trees up to `most` pairs.

    A tree of n pairs has one of Catalan(n - 1) shapes and 3^n labellings, each of probability
    q^(n-1) (1-q)^n / 3^n: a count that shares nothing with the formula of the floor.
    """
    s, q, found = grammar.sums, grammar.nested, []
    if s:
        found += [(math.log(count), math.log(s / 100), length) for count, length in ((55, 6), (45, 7))]
    for n in range(1, most + 1) if s < 1 else ():
        if q == 0 and n > 1:
            break
        catalan = math.lgamma(2 * n - 1) - math.lgamma(n) - math.lgamma(n + 1)
        p = math.log(1 - s) + (n - 1) * math.log(q or 1) + n * math.log((1 - q) / 3)
        found.append((catalan + n * math.log(3), p, 2 * n + 1))
    return found


@pytest.mark.parametrize("grammar", GRAMMARS, ids=str)
def test_the_floor_is_entropy_by_length_of_all_sentences(grammar: Grammar) -> None:
    rows = sentences_by_probability(grammar, 5000)
    weights = [math.exp(count + p) for count, p, _ in rows]
    bits = -sum(w * p for w, (_, p, _) in zip(weights, rows, strict=True)) / math.log(2)
    length = sum(w * each for w, (_, _, each) in zip(weights, rows, strict=True))
    assert sum(weights) == pytest.approx(1, abs=1e-9)
    assert grammar.bits_of_a_sentence == pytest.approx(bits, rel=1e-9)
    assert grammar.characters_of_a_sentence == pytest.approx(length, rel=1e-9)
    assert grammar.floor == pytest.approx(bits / length, rel=1e-9)


def test_the_default_floor_by_hand() -> None:
    """q = 1/3: two pairs on average, three decisions of H2(1/3) = log2(3) - 2/3."""
    tree = 2 * math.log2(3) + 3 * (math.log2(3) - 2 / 3)
    assert Grammar().floor == pytest.approx((1 + math.log2(10) + tree / 2) / (6.45 / 2 + 5 / 2), rel=1e-12)
    assert Grammar().floor == pytest.approx(1.2724, abs=5e-5)


@pytest.mark.parametrize("grammar", GRAMMARS, ids=str)
def test_the_ideal_predictor_needs_the_floor_on_average(grammar: Grammar) -> None:
    """Sentences are independent, so their mean of bits - floor * characters, of expectation 0, is Gaussian.

    4.5 standard errors: 7e-6 a grammar, and the seed is fixed.
    """
    text = grammar.text(200_000, seed=1)
    assert len(text) == 200_000
    whole = text[: text.rindex(END) + 1]
    ends = torch.tensor([i + 1 for i, each in enumerate(whole) if each == END])
    bits = grammar.bits(whole).cumsum(0)[ends - 1]
    excess = torch.diff(bits - grammar.floor * ends, prepend=torch.zeros(1, dtype=torch.float64))
    assert abs(excess.mean()) < 4.5 * excess.std() / len(excess) ** 0.5 + 1e-12
    assert float(bits[-1] / len(whole)) == pytest.approx(grammar.floor, rel=0.03)


def test_the_predictor_is_a_probability_and_knows_all_that_can_come() -> None:
    """Of every prefix its numbers sum to 1, so by Gibbs' inequality its bits are no fewer than the entropy."""
    reader = Reader(Grammar())
    for character in Grammar().text(3000, seed=2):
        assert sum(reader.next.values()) == pytest.approx(1, abs=1e-12)
        assert character in reader.next
        reader.take(character)


def test_all_short_sentences_have_their_probability_and_no_other_does() -> None:
    """All strings over the alphabet up to 4 characters, and all that a predictor allows up to 9."""
    grammar = Grammar(0.4, 0.3)
    found: dict[int, list[float]] = {}
    stack = [("", 1.0)]
    while stack:
        written, p = stack.pop()
        reader = Reader(grammar)
        for character in written:
            reader.take(character)
        for character, share in reader.next.items():
            if character == END:
                found.setdefault(len(written) + 1, []).append(p * share)
            elif len(written) < 8:
                stack.append((written + character, p * share))
    expected: dict[int, list[tuple[float, float]]] = {}
    for count, p, length in sentences_by_probability(grammar, 4):
        expected.setdefault(length, []).append((math.exp(count), math.exp(p)))
    for length, rows in expected.items():
        assert len(found[length]) == round(sum(count for count, _ in rows)), length
        assert sum(found[length]) == pytest.approx(sum(count * p for count, p in rows), rel=1e-9)
    allowed = 0
    for letters in itertools.product(DIGITS + "+=" + END + "".join(PAIRS) + "".join(PAIRS.values()), repeat=3):
        try:
            grammar.bits("".join(letters))
        except ValueError:
            continue
        allowed += 1
    # a digit, + and a digit; three brackets opened; two and one closed; one, closed, and an end
    assert allowed == 100 + 27 + 9 + 3


def test_a_text_is_a_function_of_its_seed_and_a_longer_one_begins_alike() -> None:
    grammar = Grammar()
    assert grammar.text(500, 3) == grammar.text(5000, 3)[:500]
    assert grammar.text(500, 3) != grammar.text(500, 4)
    for bad in ("3+5=9;", "(]", "3+4=7;;", "a"):
        with pytest.raises(ValueError, match="cannot stand there"):
            grammar.bits(bad)
    with pytest.raises(ValueError, match="nested in"):
        Grammar(nested=0.5)
