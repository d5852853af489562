"""Outer steps as replays, `deeprelax.training.graphs.step`, on CPUs: with a tape in the place of a CUDA graph.

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

from deeprelax.errors import Stopped
from deeprelax.optim import EntropySGD, Heat, Relaxation, scratch
from deeprelax.optim import entropy_sgd as chain
from deeprelax.optim import finite as finiteness
from deeprelax.optim.scratch import Noise
from deeprelax.training.clipping import Clip
from deeprelax.training.graphs import step as captured
from deeprelax.training.graphs.pieces import InPieces, cut
from deeprelax.training.graphs.step import WARM_UP, CapturedStep, can_capture
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

    def __init__(self, build: Callable[..., Relaxation], size: int = 32, clip: Clip | None = None) -> None:
        task = classification(random_images(50, 1, 8, 5), 20, augment="flip_crop")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = nn.Flatten(), nn.Linear(64, size), nn.BatchNorm1d(size), nn.ReLU(), nn.Dropout(0.5)
            self.model = nn.Sequential(*layers, nn.Linear(size, 5))
        self.optimizer = build(self.model.parameters())
        self.objective = Objective(Loss(task, self.model, Autocast("float32", CPU)), task)
        self.objective.clip = clip

    def tensors(self) -> list[Tensor]:
        state = [t for kept in self.optimizer.state.values() for t in kept.values()]
        bad = self.optimizer.finiteness._bad
        counts = [self.objective.clip.counts] if self.objective.clip is not None else []
        return [*self.model.state_dict().values(), *state, *counts, *([bad] if isinstance(bad, Tensor) else [])]


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
    """Losses and all tensors after these steps under a schedule."""
    losses = []
    for k in range(steps):
        for group in world.optimizer.param_groups:
            group["lr"] = 0.01 / (k + 1)
        losses.append(step().clone())
    return [torch.stack(losses), world.optimizer.direction_norm(), *world.tensors()]


# gamma changes with scoping, and each replica has tensors of its own
CAPTURED = [name for name, case in OPTIMIZERS.items() if not {"scoping", "replicas"} & set(case.keywords)]


@pytest.mark.parametrize("name", CAPTURED)
def test_replays_are_the_steps_bit_for_bit(name: str, tapes: list[World]) -> None:
    """Batches, augmentation, dropout, noise, the schedule of lr, moments, and the counts of an inner chain."""
    plain, replayed = World(OPTIMIZERS[name].build), World(OPTIMIZERS[name].build)
    assert can_capture(replayed.optimizer)
    tapes.append(replayed)
    step = CapturedStep(replayed.optimizer, replayed.objective)
    one = ends(plain, lambda: plain.optimizer.step(plain.objective))
    other = ends(replayed, step)
    assert len(step._graphs) == min(3, plain.optimizer.evaluations)
    for mine, theirs in zip(one, other, strict=True):
        assert torch.equal(mine, theirs)
    assert replayed.optimizer.param_groups[0]["outer_steps"] == plain.optimizer.param_groups[0]["outer_steps"]
    assert replayed.objective.evaluations == plain.objective.evaluations


def test_replays_clip_each_gradient_and_count(tapes: list[World]) -> None:
    plain, replayed = (World(entropy_sgd, clip=Clip(2.05, CPU)) for _ in range(2))
    tapes.append(replayed)
    one = ends(plain, lambda: plain.optimizer.step(plain.objective))
    other = ends(replayed, CapturedStep(replayed.optimizer, replayed.objective))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))
    assert replayed.objective.clip is not None
    clipped, taken = replayed.objective.clip.counts.tolist()
    assert taken == 3 * (WARM_UP + 4)
    assert 0 < clipped < taken


def entropy_sgd(params: Any) -> Relaxation:
    return EntropySGD(params, lr=0.5, inner_steps=3, temperature=1e-4, momentum=0.5, inner_state="keep")


def replaying(tapes: list[World]) -> tuple[World, CapturedStep]:
    """A world whose next step is a replay."""
    world = World(entropy_sgd)
    tapes.append(world)
    step = CapturedStep(world.optimizer, world.objective)
    for _ in range(WARM_UP + 1):
        step()
    return world, step


def test_a_replay_that_is_not_finite_changes_nothing_and_is_counted(tapes: list[World]) -> None:
    world, step = replaying(tapes)
    assert world.optimizer.nonfinite_steps() == (0, 0)
    step()
    weights = list(world.model.parameters())
    kept = [t for state in world.optimizer.state.values() for t in state.values()]
    with torch.no_grad():
        good, weights[0][0, 0] = weights[0][0, 0].clone(), torch.inf
    before = [t.clone() for t in (*weights, *kept)]
    step()
    step()
    assert all(torch.equal(t, old) for t, old in zip((*weights, *kept), before, strict=True))
    assert world.optimizer.nonfinite_steps() == (2, WARM_UP + 2)
    with torch.no_grad():
        weights[0][0, 0] = good
    assert torch.isfinite(step())
    assert world.optimizer.nonfinite_steps() == (0, 0)


def test_another_hyper_parameter_has_the_step_captured_again(tapes: list[World]) -> None:
    plain, replayed = World(entropy_sgd), World(entropy_sgd)
    tapes.append(replayed)
    step = CapturedStep(replayed.optimizer, replayed.objective)
    for change in ({"temperature": 0.0}, {"momentum": 0.1, "inner_lr": 0.05}, {"temperature": 1e-3}):
        for world in (plain, replayed):
            world.optimizer.param_groups[0].update(change)
        one = ends(plain, lambda: plain.optimizer.step(plain.objective))
        other = ends(replayed, step)
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


def test_a_replay_that_is_aborted_leaves_nothing_behind(tapes: list[World]) -> None:
    world, step = replaying(tapes)
    buffers = {buffer.data_ptr() for buffer in world.model.buffers()}  # GuardedStep puts them back
    held = [t for t in world.tensors() if t.data_ptr() not in buffers]
    before, count = [t.clone() for t in held], world.objective.evaluations

    def stop() -> None:
        if world.objective.evaluations == count + 2:
            raise Stopped(15)

    world.objective.interrupt = stop
    with pytest.raises(Stopped):
        step()
    assert all(torch.equal(t, old) for t, old in zip(held, before, strict=True))


class Own(EntropySGD):
    """A user's class: nobody knows what its host decides."""


def test_what_changes_from_step_to_step_is_not_captured() -> None:
    params = [nn.Parameter(torch.ones(3))]
    assert can_capture(EntropySGD(params))
    assert not can_capture(EntropySGD(params, scoping=1e-3))
    assert not can_capture(EntropySGD(params, closure_calls="once"))
    assert not can_capture(Own(params))
    assert not can_capture(Heat([nn.Parameter(torch.ones(3, dtype=torch.float64))]))


def three_lists() -> list[list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(20, 1, 5, 5), (20,), (500, 200), (64, 3, 4, 4)]
    lists = [[torch.rand(shape, generator=generator) for shape in shapes] for _ in range(3)]
    return [[t.to(memory_format=torch.channels_last) if t.ndim == 4 else t for t in tensors] for tensors in lists]


def test_pieces_are_views_of_all_numbers() -> None:
    one, other, _ = three_lists()
    tensors, more, number = cut([one, other, 0.5])
    assert len(tensors) == len(more) > 25
    assert sum(t.numel() for t in tensors) == sum(t.numel() for t in one)
    assert max(t.numel() for t in tensors) <= 4096
    assert (tensors[0].data_ptr(), number) == (one[0].data_ptr(), 0.5)


def test_operations_on_pieces_are_the_same() -> None:
    ends = []
    for mode in (contextlib.nullcontext(), InPieces()):
        x, y, z = three_lists()
        squares, steps = [t.square() for t in z], [torch.ones(())] * len(x)
        with mode:
            torch._foreach_addcmul_(x, y, z, 0.3)
            torch._foreach_div_(x, [2.0, 3.0, 4.0, 5.0])
            torch._fused_adamw_(
                x, y, z, squares, [], steps, lr=0.1, beta1=0.9, beta2=0.99, weight_decay=0.1, eps=1e-8, amsgrad=False,
                maximize=False,
            )  # fmt: skip
        ends.append([*x, *y, *z, *squares])
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*ends, strict=True))


def test_long_lists_and_tensors_of_other_layouts_stay_whole() -> None:
    large = [torch.zeros(2_000_000), torch.zeros(3)]
    assert cut([large, 1.0])[0] is large
    x, y = [torch.zeros(100, 90)], [torch.zeros(90, 100).t()]
    assert cut([x, y])[0] is x
    assert len(cut([x, [torch.zeros(100, 90)]])[0]) == 3
    assert [len(each) for each in cut([[*x, torch.zeros(0)], [1.0, 2.0]])] == [4, 4]
