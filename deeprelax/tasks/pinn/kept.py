"""Points of collocation that follow the residual: a set, kept with the network, of which a share of each batch is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...randomness import Purpose, derive_seed
from ..task import Setting
from .points import Domain

NAME = "collocation"  # the network's buffer
SIZE = 10  # batches of points are kept
CANDIDATES = 5  # for each of them
CHUNK = 1000  # points


class Kept:
    """A set of points that is chosen again each so many evaluations, between outer steps.

    Of CANDIDATES times as many uniform points each is taken with a probability in proportion to |r| / mean |r| + 1, r
    the residual there. Source: arXiv 2207.10289, its RAD with k = c = 1. Choices are functions of (seed, number), so a
    run resumes exactly; the set is a buffer of the network, which is in the checkpoint.

    Args:
        setting, domain: of the task.
        share: of a batch's points.
        every: evaluations between two choices.
    """

    def __init__(self, setting: Setting, domain: Domain, share: float, every: int) -> None:
        self._setting, self._domain, self._share, self._every = setting, domain, share, every
        self._size = SIZE * setting.batch_size
        self._choices: int | None = None  # how many there had been when the last batch was drawn

    def prepare(self, model: nn.Module) -> None:
        """Register the first set with the network."""
        model.register_buffer(NAME, self._candidates(0, self._size))

    def draw(self, evaluations: int, size: int, generator: torch.Generator) -> Tensor:
        """For each point of a batch which of the set takes its place, (size,) on the CPU; -1: none."""
        if self._choices is None:
            self._choices = evaluations // self._every
        chosen = round(self._share * size)
        index = torch.full((size,), -1)
        index[:chosen] = torch.randint(self._size, (chosen,), generator=generator)
        return index[torch.randperm(size, generator=generator)]  # so that each rank's part has its share

    def replaced(self, model: nn.Module, points: Tensor, index: Tensor) -> Tensor:
        """The batch's points with those of the set in their places."""
        kept = model.get_buffer(NAME)
        return torch.where((index >= 0)[:, None], kept[index.clamp(min=0)], points)

    def advance(self, model: nn.Module, evaluations: int, residual: Callable[[Tensor], Tensor]) -> None:
        """Choose again if it is time. residual: points (n, d) to (n, r)."""
        number = evaluations // self._every
        if self._choices is not None and number > self._choices:
            self._choose(model, number, residual)
        self._choices = number

    @torch.no_grad()
    def _choose(self, model: nn.Module, number: int, residual: Callable[[Tensor], Tensor]) -> None:
        candidates = self._candidates(number, CANDIDATES * self._size)
        size = torch.cat([residual(part).detach().norm(dim=1) for part in candidates.split(CHUNK)]).double().cpu()
        if not torch.isfinite(size).all() or not size.any():  # the loop will say what is wrong, or nothing is
            return
        generator = torch.Generator().manual_seed(derive_seed(self._setting.seed, Purpose.ADAPTIVE, number, 1))
        index = torch.multinomial(size / size.mean() + 1, self._size, generator=generator)
        model.get_buffer(NAME).copy_(candidates[index.to(candidates.device)])

    def _candidates(self, number: int, count: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive_seed(self._setting.seed, Purpose.ADAPTIVE, number, 0))
        drawn = torch.rand(count, len(self._domain.low), generator=generator, dtype=self._setting.dtype)
        return self._domain.interior(drawn.to(self._setting.device))
