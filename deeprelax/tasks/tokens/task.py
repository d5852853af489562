"""A language model of characters: mean cross-entropy of the next one, scored in bits a character."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...data.batches import Order
from ...errors import UserError
from ...optim.hyperparameters import given
from ...randomness import Purpose
from ..hyperparameters import check_options
from ..metric import Metric
from ..task import Chunks, Setting, Task
from . import sampling
from .corpus import UNKNOWN, corpus, decoded, encoded, read
from .grammar import Grammar

log = logging.getLogger(__name__)
UNSCORED = -100  # a target that does not count, as nn.functional.cross_entropy has it
CHUNK = 2**14  # characters of an evaluated chunk, about
SAMPLE = 200  # characters of the sample in result.json


class Tokens(Task):
    """f = the mean over windows and places of -log p(next character | those before it in the window), in nats.

    A pass is the training part in windows of `context` characters, each shifted to the right by a random number of
    characters, new for every batch. "bits" is the mean of -log2 p over a part's characters, each counted once and
    predicted from at least half of `context` characters before it (but for the first ones of the part); "accuracy" is
    the percentage whose likeliest prediction is right. "loss" is bits times log 2. A character that the training part
    does not have is not predicted, and is seen as one and the same unknown.

    Networks map tokens (batch, length), integers under `vocabulary`, to logits (batch, length, vocabulary); one with an
    attribute `context` takes no longer windows.

    Args:
        path: of a UTF-8 text; None: `Grammar`'s, whose entropy is a floor of the expected bits.
        characters: of that text.
        context: characters of a window.
        test_share: of the text, its end.
        validation_share: of the text, before that.
        problem_seed: of that text.

    Raises UserError for a file that is missing, empty or not UTF-8, and for too short a text.
    """

    metrics: Mapping[str, Metric] = {
        "bits": Metric(decimals=4),
        "accuracy": Metric("%", 2, smaller_is_better=False),
    }
    noun: ClassVar[str] = "window"
    abbreviation: ClassVar[str] = "win"
    result_keys: ClassVar[tuple[str, str]] = ("windows", "windows_per_second")

    def __init__(
        self,
        setting: Setting,
        path: str | None = None,
        characters: int = 1_000_000,
        context: int = 128,
        test_share: float = 0.1,
        validation_share: float = 0.0,
        problem_seed: int = 0,
    ) -> None:
        options = given(locals())
        check_options(options, "tokens")
        super().__init__(setting)
        self.grammar = Grammar() if path is None else None
        text = read(path) if path is not None else Grammar().text(characters, problem_seed)
        self.corpus, self.context = corpus(text, context, test_share, validation_share), context
        self._check()
        self.parts = {name: tokens.to(setting.device) for name, tokens in self.corpus.parts.items()}
        self.examples = (len(self.parts["train"]) - 1) // context - 1  # a shift by a window must leave room
        self.shape = {"vocabulary": 1 + len(self.corpus.vocabulary)}
        self.fingerprint = f"tokens {self.corpus.digest} {test_share} {validation_share}"
        self.places = torch.arange(context + 1, device=setting.device)
        self.order = Order(
            self.examples, setting.drawn, setting.seed, setting.device, part=setting.part, chain=setting.chain[0]
        )
        self.text = text if self.grammar is not None else ""  # what the ideal predictor reads

    def _check(self) -> None:
        """Warn of unknown characters. Raises UserError for a part of nothing else."""
        for name, tokens in self.corpus.parts.items():
            unknown = int((tokens == UNKNOWN).sum())
            if not bool((tokens[1:] != UNKNOWN).any()):  # the first one is not predicted
                raise UserError(f"the {name} part has no character of the training part: nothing in it can be scored")
            if unknown:
                log.warning(
                    "%d of %d characters of the %s part are not in the training part, and are not scored",
                    unknown, len(tokens), name,
                )  # fmt: skip

    def prepare(self, model: nn.Module) -> None:
        longest = getattr(model, "context", self.context)
        if self.context > longest:
            raise UserError(
                f"task.context={self.context} is longer than the network takes, model.context={longest}: set both alike"
            )

    # Training -------------------------------------------------------------------------------------------------------

    def draw(self, k: int) -> tuple[Tensor, ...]:
        """Where the windows begin, (batch,)."""
        shifts = torch.randint(self.context + 1, (self.setting.drawn,), generator=self.setting.generator(k))
        return (self.order[k] * self.context + self.setting.mine(shifts),)

    def make(self, *drawn: Tensor) -> tuple[Tensor, ...]:
        """Inputs and targets, both int64 (batch, context)."""
        (starts,) = drawn
        window = self.parts["train"][starts[:, None] + self.places].long()
        return window[:, :-1], window[:, 1:]

    def loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        tokens, targets = batch
        return nn.functional.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())

    # Evaluation -----------------------------------------------------------------------------------------------------

    def splits(self) -> dict[str, Chunks]:
        return {name: self._windows(tokens) for name, tokens in self.parts.items() if name != "train"}

    def _windows(self, tokens: Tensor) -> Chunks:
        """All of a part: windows that begin half a window after each other, scored where the one before has ended."""
        half, most = max(1, self.context // 2), max(1, CHUNK // self.context)
        count = 1 + max(0, -(-(len(tokens) - 1 - self.context) // half))

        def take(i: int) -> tuple[Tensor, ...]:
            starts = half * torch.arange(i * most, min(count, (i + 1) * most), device=tokens.device)
            index = starts[:, None] + self.places
            window = tokens[index.clamp(max=len(tokens) - 1)].long()
            targets = window[:, 1:]
            seen = (starts[:, None] > 0) & (self.places[1:] <= self.context - half)
            off = seen | (index[:, 1:] >= len(tokens)) | (targets == UNKNOWN)
            return window[:, :-1], targets.masked_fill(off, UNSCORED)

        return Chunks(take, -(-count // most))

    def statistics(self, most: int) -> Chunks:
        size, seed = self.setting.batch_size, self.setting.seed
        order = Order(self.examples, size, seed, self.setting.device, Purpose.STATISTICS)
        return Chunks(lambda k: self.make(order[k] * self.context), min(most, max(1, self.examples // size)))

    def sums(self, model: nn.Module, *chunk: Tensor) -> Tensor:
        """Summed loss, right predictions, characters."""
        tokens, targets = chunk[0], chunk[1].flatten()
        logits = model(tokens).float().flatten(0, 1)
        with torch.autocast(logits.device.type, enabled=False):
            loss = nn.functional.cross_entropy(logits, targets, ignore_index=UNSCORED, reduction="none").double().sum()
        right, scored = (logits.argmax(1) == targets).sum(), (targets != UNSCORED).sum()
        return torch.stack([loss, right.double(), scored.double()])

    def scores(self, sums: Tensor) -> dict[str, float]:
        loss, right, characters = sums.tolist()
        return {
            "loss": loss / characters,
            "bits": loss / characters / math.log(2),
            "accuracy": 100.0 * right / characters,
        }

    def report(self, model: nn.Module, folder: Path) -> dict[str, Any]:
        """Of the shipped text the floor, and what the ideal predictor needs on this very test part; and a sample."""
        floors = {}
        if self.grammar is not None:
            ideal = self.grammar.bits(self.text)[self.corpus.starts["test"] + 1 :]
            floors = {"floor": self.grammar.floor, "floor_on_test": float(ideal.mean())}
        return floors | {"sample": self.sample(model, SAMPLE, seed=self.setting.seed)}

    def sample(
        self, model: nn.Module, length: int, prompt: str | None = None, temperature: float = 1.0, seed: int = 0
    ) -> str:
        """What the network writes after the prompt; after the end of the training part without one.

        Raises UserError for a prompt with characters that the training part has not.
        """
        vocabulary = self.corpus.vocabulary
        given = encoded(prompt, vocabulary) if prompt else self.corpus.parts["train"][-self.context :].long()
        written = sampling.continued(model, given, length, self.context, temperature, seed)
        return decoded(written, vocabulary)
