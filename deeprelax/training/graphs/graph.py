"""Replay gradient evaluations as a CUDA graph: one launch for all kernels of a forward and backward pass."""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import UserError
from ...optim.scratch import Noise

WARM_UP = 3  # calls that run as they are: cuDNN and cuBLAS allocate and choose in the first ones


class Graphed:
    """`evaluate`, captured at the call after the warm-up and replayed from then on.

    `evaluate(*inputs)` returns a loss and leaves its gradient in the parameters' .grad, which it finds empty. It must
    do the same kernels each time: inputs of one shape, no number read on the host. Random numbers come from the default
    generator; a replay starts where that generator is then, so reseeding it between two calls changes their dropout.

    Loss and gradients lie in the graph's own memory: the next call overwrites them. Raises UserError for a network that
    cannot be captured.
    """

    def __init__(self, evaluate: Callable[..., Tensor], parameters: Iterable[nn.Parameter]) -> None:
        self._evaluate, self._parameters = evaluate, list(parameters)
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._gradients: list[Tensor | None] = []
        self._loss = torch.empty(0)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The loss, a 0-dim tensor."""
        if self._calls < WARM_UP:
            self._calls += 1
            return on_another_stream(lambda: self._evaluate(*inputs))
        if self._graph is None:
            self._graph = self._captured(*inputs)
        for held, given in zip(self._inputs, inputs, strict=True):
            held.copy_(given, non_blocking=True)
        for p, gradient in zip(self._parameters, self._gradients, strict=True):
            p.grad = gradient  # of this memory, whatever became of .grad in between
        self._graph.replay()
        return self._loss

    def _captured(self, *inputs: Tensor) -> torch.cuda.CUDAGraph:
        self._inputs = tuple(t.clone() for t in inputs)
        with captured() as graph:
            self._loss = self._evaluate(*self._inputs).detach()
        self._gradients = [p.grad for p in self._parameters]
        return graph


def on_another_stream(work: Callable[[], Tensor]) -> Tensor:
    """Its result, by the stream of captures: what autograd keeps must belong to no other."""
    stream = side_stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        result = work()
    torch.cuda.current_stream().wait_stream(stream)
    return result


def side_stream() -> torch.cuda.Stream:
    """The one stream of this GPU's warm-ups and captures: cuBLAS keeps a workspace for each that it has worked on."""
    return _stream(torch.cuda.current_device())


@functools.cache
def _stream(device: int) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


@contextlib.contextmanager
def captured(pool: Any = None, noise: Noise | None = None) -> Iterator[torch.cuda.CUDAGraph]:
    """A graph of what is launched within. A replay draws from where the default generator and the noise's are then.

    `pool`: the memory of an earlier graph, to be shared. Raises UserError for what cannot be captured.
    """
    graph = torch.cuda.CUDAGraph()
    for generator in noise.generators if noise is not None else ():
        graph.register_generator_state(generator)
    gc.collect()
    enabled = gc.isenabled()
    if noise is not None:
        noise.captured = True
    gc.disable()  # a graph that the collector frees during a capture breaks it
    try:
        with torch.cuda.graph(graph, pool=pool, stream=side_stream()):
            yield graph
    except RuntimeError as error:
        cause = _cause(error)
        if isinstance(cause, torch.OutOfMemoryError):
            raise cause from None
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise UserError(
            f"hardware.cuda_graphs=true, but this network cannot be captured ({reason}): leave it out"
        ) from None
    finally:
        if noise is not None:
            noise.captured = False
        if enabled:
            gc.enable()


def _cause(error: BaseException) -> BaseException:
    """The error that came first: the end of the capture only says that there was one."""
    while error.__context__ is not None:
        error = error.__context__
    return error
