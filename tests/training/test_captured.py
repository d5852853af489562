"""Outer steps as replays, `deeprelax.training.captured`, on CPUs: with a tape in the place of a CUDA graph.

What happens on a GPU, tests/gpu/check.py asks: there replays are compared with steps bit for bit, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from deeprelax.optim import Relaxation, scratch
from deeprelax.optim import entropy_sgd as chain
from deeprelax.optim import finite as finiteness
from deeprelax.optim.scratch import Noise
from deeprelax.training import captured
from deeprelax.training.captured import WARM_UP, CapturedStep, can_capture
from deeprelax.training.objective import Autocast, Loss, Objective
from tests.images import CPU, classification, random_images
from tests.optimizers import OPTIMIZERS


class Tape(TorchDispatchMode):
    """Operations, done and kept. A replay does them to the same tensors with the same numbers, as a CUDA graph does."""

    def __init__(self) -> None:
        super().__init__()
        self._done: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._done.append((func, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        for func, args, kwargs, before in self._done:
            for old, new in zip(tree_leaves(before), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)

    def pool(self) -> tuple[int, int]:
        return (0, 0)


class World:
    """A network, an optimizer and their objective, in a step that is as it would be on a GPU."""

    def __init__(self, build: Callable[..., Relaxation], size: int = 32) -> None:
        task = classification(random_images(50, 1, 8, 5), 20, augment="flip_crop")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = nn.Flatten(), nn.Linear(64, size), nn.BatchNorm1d(size), nn.ReLU(), nn.Dropout(0.5)
            self.model = nn.Sequential(*layers, nn.Linear(size, 5))
        self.optimizer = build(self.model.parameters())
        self.objective = Objective(Loss(task, self.model, Autocast("float32", CPU)), task)

    def tensors(self) -> list[Tensor]:
        state = [t for kept in self.optimizer.state.values() for t in kept.values()]
        bad = self.optimizer.finiteness._bad
        return [*self.model.state_dict().values(), *state, *([bad] if isinstance(bad, Tensor) else [])]


@pytest.fixture
def tapes(monkeypatch: pytest.MonkeyPatch) -> list[World]:
    """Steps on CPU tensors take a GPU's path, and tapes stand for graphs. Worlds that join the list are restored."""
    worlds: list[World] = []

    @contextlib.contextmanager
    def taped(pool: object, noise: Noise | None) -> Iterator[Tape]:
        kept = [(t, t.clone()) for world in worlds for t in world.tensors()]
        generators = [torch.default_generator, *(noise.generators if noise is not None else [])]
        states = [g.get_state() for g in generators]
        if noise is not None:
            noise.captured = True
        with Tape() as tape:
            yield tape
        if noise is not None:
            noise.captured = False
        for t, before in kept:  # a true capture does nothing
            t.detach().copy_(before)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)

    for module in (scratch, chain, finiteness):
        monkeypatch.setattr(module, "host_knows", lambda tensor: False)
    monkeypatch.setattr(captured, "captured", taped)
    monkeypatch.setattr(captured, "on_another_stream", lambda work: work())
    return worlds


def ends(world: World, step: Callable[[], Tensor], steps: int = WARM_UP + 4) -> list[Tensor]:
    """Losses and all tensors after these steps under a schedule; the step that is not finite changes nothing."""
    losses = []
    for k in range(steps):
        for group in world.optimizer.param_groups:
            group["lr"] = (0.01 if k != WARM_UP + 2 else float("nan")) / (k + 1)
        if k == WARM_UP + 2:
            for group in world.optimizer.param_groups:
                group["lr"] = 0.01 / (k + 1)
        losses.append(step().clone())
    return [torch.stack(losses), world.optimizer.direction_norm(), *world.tensors()]


CAPTURED = [name for name, case in OPTIMIZERS.items() if not case.keywords.get("scoping")]


@pytest.mark.parametrize("name", CAPTURED)
def test_replays_are_the_steps_bit_for_bit(name: str, tapes: list[World]) -> None:
    """Batches, augmentation, dropout, noise, the schedule of lr, moments, and the counts of an inner chain."""
    plain, replayed = World(OPTIMIZERS[name].build), World(OPTIMIZERS[name].build)
    assert can_capture(replayed.optimizer)
    tapes.append(replayed)
    step = CapturedStep(replayed.optimizer, replayed.objective)
    one = ends(plain, lambda: plain.optimizer.step(plain.objective))
    other = ends(replayed, step)
    assert step._graphs
    for mine, theirs in zip(one, other, strict=True):
        assert torch.equal(mine, theirs)
    assert replayed.optimizer.param_groups[0]["outer_steps"] == plain.optimizer.param_groups[0]["outer_steps"]
    assert replayed.objective.evaluations == plain.objective.evaluations
