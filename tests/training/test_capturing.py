"""How a CUDA graph is captured, on CPUs: stand-ins for torch.cuda say what they were asked for."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from deeprelax.bench.steps import Bare
from deeprelax.configuration.registry import call
from deeprelax.errors import UserError
from deeprelax.training.graphs import graph as graphs
from deeprelax.training.graphs.graph import captured, on_another_stream
from deeprelax.training.guard import GuardedStep
from deeprelax.training.objective import Autocast, Loss, Objective
from tests.images import CPU, classification, random_images


class Stream:
    """Stands for torch.cuda.Stream."""

    made = 0

    def __init__(self, device: int = 0) -> None:
        Stream.made += 1

    def wait_stream(self, other: object) -> None:
        pass


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Any]]]:
    """What torch.cuda was asked for, in order; its captures end in an error if their body did, as torch's do."""
    found: list[tuple[str, Any]] = []
    current = Stream()

    @contextlib.contextmanager
    def graph(made: object, pool: Any = None, stream: Any = None) -> Iterator[None]:
        found.append(("captures on", stream))
        found.append(("collector", gc.isenabled()))
        try:
            yield
        except BaseException:
            raise RuntimeError("operation failed due to a previous error during capture")  # noqa: B904 -- as torch's

    @contextlib.contextmanager
    def stream(used: Stream) -> Iterator[None]:
        found.append(("works on", used))
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", nn.Identity)
    for name, value in {"graph": graph, "stream": stream, "Stream": Stream}.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: current)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    graphs._stream.cache_clear()
    Stream.made = 0
    yield found
    graphs._stream.cache_clear()


def test_warm_ups_and_captures_share_one_stream(asked: list[tuple[str, Any]]) -> None:
    for _ in range(3):
        on_another_stream(lambda: torch.zeros(()))
    for _ in range(2):
        with captured():
            pass
    assert Stream.made == 1
    assert len({used for what, used in asked if what != "collector"}) == 1


@pytest.mark.parametrize("error", [None, ValueError("no")])
def test_the_collector_runs_before_a_capture_and_not_in_it(
    error: Exception | None, asked: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph of an earlier run that is freed within a capture would break it."""
    monkeypatch.setattr(gc, "collect", lambda: asked.append(("collects", None)))
    with contextlib.nullcontext() if error is None else pytest.raises(UserError), captured():
        if error is not None:
            raise error
    assert [what for what, _ in asked] == ["collects", "captures on", "collector"]
    assert asked[-1] == ("collector", False)
    assert gc.isenabled()


def test_a_capture_that_fails_says_what_came_first(asked: list[tuple[str, Any]]) -> None:
    message = r"cannot be captured \(operation not permitted when stream is capturing\): "
    with pytest.raises(UserError, match=message), captured():
        raise RuntimeError("operation not permitted when stream is capturing\nSearch for ...")


def test_too_little_memory_is_not_taken_for_a_network_that_cannot_be_captured(asked: list[tuple[str, Any]]) -> None:
    with pytest.raises(torch.OutOfMemoryError, match="tried to allocate 2 GiB"), captured():
        raise torch.OutOfMemoryError("tried to allocate 2 GiB")


@pytest.mark.parametrize("replayed", [False, True])
def test_a_run_that_ends_is_freed_without_the_collector(replayed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a circle of references its graphs would stay, until the collector comes in another's capture."""
    for room in ("graph", "step"):
        monkeypatch.setattr(f"deeprelax.training.graphs.{room}.on_another_stream", lambda work: work())
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.BatchNorm1d(5))
    task = classification(random_images(50, 1, 8, 5), 20, augment="flip_crop")
    loss = Loss(task, model, Autocast("float32", CPU))
    objective, bare = Objective(loss, task, graphs=replayed), Bare(loss, task, 2, graphs=replayed)
    optimizer = call("optimizer", "entropy_sgd", model.parameters(), inner_steps=2)
    step = GuardedStep(model, optimizer, objective, can_abort=True, skips=True, graphs=replayed)
    step(None)
    bare.once()
    gone = [weakref.ref(each) for each in (model, loss, objective, bare, optimizer, step, objective._evaluate)]
    gc.disable()
    try:
        del model, task, loss, objective, bare, optimizer, step
        assert [ref() for ref in gone] == [None] * len(gone)
    finally:
        gc.enable()
