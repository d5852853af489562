"""The language model: windows of a text, what is scored of it, and text that a network writes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeprelax.errors import UserError
from deeprelax.models import Transformer
from deeprelax.tasks.tokens import Tokens
from deeprelax.tasks.tokens.corpus import UNKNOWN, corpus, decoded, encoded
from deeprelax.tasks.tokens.grammar import Grammar, Reader
from deeprelax.tasks.tokens.sampling import continued
from deeprelax.tasks.tokens.task import UNSCORED
from deeprelax.training.evaluation import score
from deeprelax.training.objective import Autocast
from tests.tasks.problems import CPU, make, scored


def tokens(batch_size: int = 4, seed: int = 0, share: dict[str, Any] | None = None, **options: Any) -> Tokens:
    return make(Tokens, batch_size, seed, share, **{"characters": 3000, "context": 16, **options})


def network(task: Tokens, context: int = 16) -> Transformer:
    torch.manual_seed(0)
    return Transformer(**task.shape, width=16, depth=1, heads=2, context=context)


class Ideal(nn.Module):
    """The grammar's own predictor, which knows the whole text: its window is found by the tokens themselves."""

    def __init__(self, task: Tokens) -> None:
        super().__init__()
        assert task.grammar is not None
        vocabulary, text = task.corpus.vocabulary, task.text
        self.logits = torch.full((len(text) + 1, 1 + len(vocabulary)), -1e4)
        reader = Reader(task.grammar)
        for i, character in enumerate(text):
            reader.take(character)
            for each, p in reader.next.items():
                self.logits[i, vocabulary.index(each) + 1] = math.log(p)
        self.text = encoded(text, vocabulary)
        self.start = task.corpus.starts["test"]

    def forward(self, window: Tensor) -> Tensor:
        """Windows come in order, half a window after each other, and are checked."""
        half, found = window.shape[1] // 2, []
        for row in window:
            index = (self.start + torch.arange(window.shape[1])).clamp(max=len(self.text) - 1)
            assert torch.equal(row, self.text[index])
            found.append(self.logits[index])
            self.start += half
        return torch.stack(found)


def test_the_ideal_predictor_scores_the_grammars_own_bits() -> None:
    """So every character of the test part but its first is scored once, by the logits of the place before it."""
    for characters in (3000, 3001, 3007, 3015):
        task = tokens(characters=characters)
        found = scored(task, Ideal(task))
        bits = Grammar().bits(task.text)[task.corpus.starts["test"] + 1 :]
        assert found["bits"] == pytest.approx(float(bits.mean()), rel=1e-6)
        assert found["loss"] == pytest.approx(found["bits"] * math.log(2), rel=1e-12)
        assert task.report(network(task), Path())["floor_on_test"] == pytest.approx(found["bits"], rel=1e-6)


def test_a_batch_is_windows_of_the_training_text_and_their_next_characters() -> None:
    task = tokens()
    text = task.corpus.parts["train"]
    (starts,) = task.draw(3)
    inputs, targets = task.make(starts)
    assert inputs.shape == targets.shape == (4, 16)
    for start, given, wanted in zip(starts.tolist(), inputs, targets, strict=True):
        assert torch.equal(given, text[start : start + 16].long())
        assert torch.equal(wanted, text[start + 1 : start + 17].long())


def test_draws_are_functions_of_seed_and_number_and_a_pass_covers_the_text() -> None:
    task, same, other = tokens(), tokens(), tokens(seed=1)
    drawn = {k: task.draw(k)[0] for k in (5, 0, 5, 99)}
    assert all(torch.equal(same.draw(k)[0], starts) for k, starts in drawn.items())
    assert not torch.equal(other.draw(5)[0], drawn[5])
    assert not torch.equal(tokens(share={"chain": (1, 2)}).draw(5)[0], tokens(share={"chain": (0, 2)}).draw(5)[0])
    assert tokens(problem_seed=1).fingerprint != task.fingerprint == other.fingerprint
    one = tokens(batch_size=1)
    starts = torch.cat([one.draw(k)[0] for k in range(one.examples)]).sort().values
    assert int(starts[-1]) + 16 < len(one.corpus.parts["train"])
    spare = starts - 16 * torch.arange(one.examples)
    assert (spare >= 0).all()  # window i begins at 16 i or up to 16 later; sorting keeps that
    assert (spare <= 16).all()
    assert len(set(spare.tolist())) > 10


def test_the_whole_gradient_is_the_mean_of_the_parts() -> None:
    whole, parts = tokens(), [tokens(share={"part": (i, 2)}) for i in range(2)]
    model = network(whole).double()

    def gradient(task: Tokens, k: int) -> Tensor:
        model.zero_grad()
        task.loss(model, *task.make(*task.draw(k))).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    for k in (0, 7):
        mean = (gradient(parts[0], k) + gradient(parts[1], k)) / 2
        torch.testing.assert_close(gradient(whole, k), mean, rtol=1e-10, atol=1e-12)


def test_the_loss_is_the_mean_of_what_is_given_to_the_right_character() -> None:
    task = tokens()
    model, (inputs, targets) = network(task).double(), task.make(*task.draw(0))
    p = torch.softmax(model(inputs), 2).gather(2, targets[:, :, None])
    torch.testing.assert_close(task.loss(model, inputs, targets), -p.log().mean())


@pytest.mark.parametrize("context", [1, 2, 3, 16, 64])
@pytest.mark.parametrize("characters", [1400, 1403])
def test_every_character_is_scored_once_from_half_a_window_at_least(context: int, characters: int) -> None:
    task = tokens(characters=characters, context=context, validation_share=0.25)
    for name in ("test", "validation"):
        chunks, text, seen = task.splits()[name], task.corpus.parts[name].long(), []
        chunk = [chunks.take(i) for i in range(chunks.count)]
        half = max(1, context // 2)
        for j, (inputs, targets) in enumerate((a, b) for pair in chunk for a, b in zip(*pair, strict=True)):
            scored_places = (targets != UNSCORED).nonzero()[:, 0]
            assert len(scored_places)
            assert j == 0 or int(scored_places[0]) >= context - half
            seen += (j * half + 1 + scored_places).tolist()
            assert torch.equal(targets[scored_places], text[j * half + 1 + scored_places])
            assert torch.equal(inputs[: len(text) - j * half], text[j * half :][:context])
        assert seen == list(range(1, len(text)))


def test_scores_do_not_depend_on_the_runs_seed_and_a_rank_scores_its_chunks() -> None:
    task = tokens(characters=100_000)
    model = network(task)
    assert task.splits()["test"].count > 1

    class Second:
        """Of two ranks, whose other has nothing to add."""

        rank, world = 1, 2

        def sum_(self, tensor: Tensor) -> None:
            pass

    assert scored(task, model) == scored(tokens(characters=100_000, seed=5), model)
    half = score(task, model, task.splits()["test"], Autocast("float32", CPU), Second())  # type: ignore[arg-type]
    assert half["bits"] == pytest.approx(scored(task, model)["bits"], rel=0.1)
    assert set(half) == {"loss", *task.metrics}


def test_unknown_characters_are_seen_and_not_scored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "own.txt").write_text("abcab" * 40 + "a?b!c" * 4, encoding="utf-8")
    task = tokens(path="own.txt", test_share=20 / 220)
    assert task.corpus.vocabulary == "abc"
    assert task.shape == {"vocabulary": 4}
    assert "8 of 20 characters of the test part are not in the training part, and are not scored" in caplog.text
    assert task.corpus.parts["test"][:5].tolist() == [1, UNKNOWN, 2, UNKNOWN, 3]
    chunks = task.splits()["test"]
    targets = torch.cat([chunks.take(i)[1].flatten() for i in range(chunks.count)])
    assert int((targets != UNSCORED).sum()) == 20 - 1 - 8
    assert UNKNOWN not in targets
    assert set(scored(task, network(task))) == {"loss", "bits", "accuracy"}
    assert "floor" not in task.report(network(task), tmp_path)


def test_a_text_of_ones_own_in_any_language(tmp_path: Path) -> None:
    text = "Ein Traum, ein Traum ist unser Leben 🙂\n" * 20
    (tmp_path / "own.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    task = tokens(path=str(tmp_path / "own.txt"))
    assert task.corpus.vocabulary == "".join(sorted(set(text)))
    assert decoded(encoded(text, task.corpus.vocabulary).tolist(), task.corpus.vocabulary) == text
    assert "".join(decoded(part.tolist(), task.corpus.vocabulary) for part in task.corpus.parts.values()) == text
    (tmp_path / "other.txt").write_text(text.replace("Leben", "leben"), encoding="utf-8")
    assert tokens(path=str(tmp_path / "other.txt")).fingerprint != task.fingerprint


class Counting(nn.Module):
    """Token i is followed by i + 1 (mod 5), with these odds against any other; and remembers what it was shown."""

    def __init__(self, odds: float) -> None:
        super().__init__()
        self.odds, self.weight, self.shown = odds, nn.Parameter(torch.zeros(1)), []

    def forward(self, window: Tensor) -> Tensor:
        self.shown.append(window.shape[1])
        logits = torch.zeros(*window.shape, 6)
        logits[..., UNKNOWN] = 50.0  # it would be drawn always, were it not left out
        return logits.scatter(2, 1 + (window[..., None] % 5), math.log(self.odds))


def written(odds: float, length: int, temperature: float = 1.0, seed: int = 0) -> Sequence[int]:
    return continued(Counting(odds), torch.tensor([2, 3]), length, 4, temperature, seed)


def test_what_is_written_is_drawn_from_the_softmax_at_a_temperature() -> None:
    """4,000 draws: 4.5 standard errors, a chance of 7e-6 each to fail, and the seed is fixed."""
    assert written(1e9, 7) == [4, 5, 1, 2, 3, 4, 5]
    assert written(1.01, 5, temperature=0.0) == [4, 5, 1, 2, 3]
    for temperature in (1.0, 2.0):
        found = [3, *written(6.0, 4000, temperature)]
        hits = sum(b == 1 + a % 5 for a, b in itertools.pairwise(found)) / 4000
        odds = 6.0 ** (1 / temperature)
        p = odds / (odds + 4)
        assert abs(hits - p) < 4.5 * (p * (1 - p) / 4000) ** 0.5


def test_a_sample_is_reproducible_and_sees_a_window_at_most() -> None:
    assert written(2.0, 50, seed=1) == written(2.0, 50, seed=1) != written(2.0, 50, seed=2)
    counting = Counting(2.0).train()
    continued(counting, torch.tensor([2, 3]), 5, 4)
    assert counting.shown == [2, 3, 4, 4, 4]
    assert counting.training
    task = tokens()
    model = network(task)
    before = torch.get_rng_state()
    report = task.report(model, Path())
    assert report["sample"] == task.report(model, Path())["sample"]
    assert torch.equal(before, torch.get_rng_state())
    assert len(report["sample"]) == 200
    assert set(report["sample"]) <= set(task.corpus.vocabulary)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (None, {}, r"task.path=own.txt is not a file"),
        (b"", {}, r"task\.path=own\.txt is empty"),
        (b"abc\xff", {}, r"task.path=own.txt is not UTF-8: byte 3 cannot be read"),
        (b"abc" * 12, {}, r"a text of 36 characters leaves 32 to train, and with task.context=16 33 are needed there"),
        (b"ab" * 50, {"test_share": 0.01}, "leaves 1 to test"),
        (b"ab" * 50, {"test_share": 0.9, "validation_share": 0.9}, "leaves 0 to train"),
        (b"ab" * 50 + b"cd" * 5, {"test_share": 10 / 110}, "the test part has no character of the training part"),
    ],
)
def test_a_text_that_is_of_no_use_is_refused(
    text: bytes | None, options: dict[str, float], message: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "own.txt").write_bytes(text)
    with pytest.raises(UserError, match=message):
        tokens(path="own.txt", **options)


def test_a_window_longer_than_the_network_takes_and_a_prompt_of_other_characters_are_refused() -> None:
    task = tokens()
    with pytest.raises(UserError, match=r"task\.context=16 is longer than the network takes, model.context=8"):
        task.prepare(network(task, context=8))
    task.prepare(network(task, context=32))
    with pytest.raises(UserError, match=r"the training text has no 'a', 'é': it is written with \(\)\+0123456789;="):
        task.sample(network(task), 3, "1+é=a")
    assert corpus("ab" * 50, 16, 0.1, 0.0).starts == {"train": 0, "test": 90}
