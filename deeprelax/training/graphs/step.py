"""Replay whole outer steps as CUDA graphs: each gradient together with what the optimizer does with it."""

from __future__ import annotations

import functools
from typing import Any, Protocol

import torch
from torch import Tensor

from ...optim import Relaxation
from ...optim.step import Step
from .graph import captured, on_another_stream
from .pieces import InPieces

WARM_UP = 2  # steps as they are: libraries choose their kernels, the optimizer allocates its state


class Evaluates(Protocol):
    """An objective, in two halves: what happens on the host, and what on the device."""

    def draw(self, again: bool = False) -> tuple[Tensor, ...]:
        """The inputs of the next evaluation, which is counted and whose random numbers are seeded.

        With `again` they are those of the last one.
        """

    def on_device(self, *drawn: Tensor, again: bool = False) -> Tensor:
        """The loss of these inputs; its gradient is in the parameters' .grad, which it finds empty."""


def can_capture(optimizer: Relaxation) -> bool:
    """Are all steps the same work to the host, so that a replay is the step?

    Not with `scoping`, for gamma is then another at each; nor in double precision, of which the fused kernels read the
    rate as a float; nor for a class of the user's, of which nobody knows.
    """
    groups = optimizer.param_groups
    single = all(p.dtype == torch.float32 for group in groups for p in group["params"])
    changes = any(group.get("scoping") or group.get("closure_calls") == "once" for group in groups)
    return vars(type(optimizer)).get("same_each_step", False) and single and not changes


class CapturedStep:
    """The optimizer's step, captured after the warm-up: the same numbers, by as many launches as it has gradients.

    There is a graph for the first gradient of a step, one for the last and one for all between; of those that are taken
    on the batch of the one before, others. Learning rates are read
    on the device and may follow a schedule; any other change of a hyper-parameter has the step captured again. The loss
    is overwritten by the next step. Raises UserError for a network that cannot be captured.
    """

    def __init__(self, optimizer: Relaxation, objective: Evaluates) -> None:
        self._optimizer, self._objective = optimizer, objective
        self._warm = 0
        self._settings: list[dict[str, Any]] = []  # those that the graphs hold
        self._graphs: dict[tuple[bool, bool, bool], torch.cuda.CUDAGraph] = {}
        self._losses = self._loss = self._between = torch.empty(0)
        self._inputs: tuple[Tensor, ...] = ()
        self._step: Step | None = None
        self._draws = False  # does the optimizer draw noise?
        self._rates: dict[int, Tensor] = {}  # lr on the device, float64, by the id of its group
        self._numbers: dict[int, float] = {}  # the same on the host

    @torch.no_grad()
    def __call__(self) -> Tensor:
        """One outer step; its loss, a 0-dim tensor. What the drawing of a batch raises aborts it without a trace."""
        optimizer = self._optimizer
        if self._graphs and self._settings != self._found():  # changed by hand: as at the start
            self._warm, self._graphs = 0, {}
        if self._warm < WARM_UP:
            self._warm += 1
            repeat = functools.partial(self._evaluate, again=True)
            self._loss = on_another_stream(lambda: optimizer.step(self._evaluate, repeat))
            self._draws = optimizer.draws() > 0
            return self._loss
        self._set_rates()
        if self._draws:
            optimizer.noise()  # where the generators are now, the replays draw
        drawn = self._objective.draw()
        if not self._graphs:
            self._capture(drawn)
        assert self._step is not None
        try:
            for i in range(self._step.evaluations):
                self._replay(i, drawn if i == 0 else self._objective.draw(again=optimizer.again(i)))
        except BaseException:
            optimizer.rewind.back()
            self._step.leave()
            raise
        for group in optimizer.param_groups:
            group["outer_steps"] += 1
        return self._loss

    def _set_rates(self) -> None:
        """One small launch where a rate has changed."""
        for group in self._optimizer.param_groups:
            rate = self._optimizer.rate(group)
            if id(group) not in self._rates:
                self._rates[id(group)] = torch.zeros((), dtype=torch.float64, device=self._loss.device)
            if self._numbers.get(id(group)) != rate:
                self._numbers[id(group)] = rate
                self._rates[id(group)].fill_(rate)

    def _found(self) -> list[dict[str, Any]]:
        """All hyper-parameters but those that a replay reads on the device, or does not need."""
        without = ("params", "lr", "initial_lr", "outer_steps")
        return [{k: v for k, v in group.items() if k not in without} for group in self._optimizer.param_groups]

    def _evaluate(self, again: bool = False) -> Tensor:
        drawn = self._objective.draw(again)
        return self._objective.on_device(*drawn, again=again)

    def _kind(self, i: int) -> tuple[bool, bool, bool]:
        """Which graph gradient i has: is it the first, the last, on the batch of the one before?"""
        return i == 0, i == self._optimizer.evaluations - 1, self._optimizer.again(i)

    def _replay(self, i: int, drawn: tuple[Tensor, ...]) -> None:
        assert self._step is not None
        for held, given in zip(self._inputs, drawn, strict=True):
            held.copy_(given, non_blocking=True)
        first, last, again = self._kind(i)
        self._graphs[first, last, again].replay()
        if not first and not last:
            self._losses[i].copy_(self._between)

    def _capture(self, drawn: tuple[Tensor, ...]) -> None:
        """All graphs of a step, of which nothing is done yet."""
        optimizer = self._optimizer
        self._settings, self._graphs, self._step = self._found(), {}, None
        self._inputs = tuple(t.clone() for t in drawn)
        self._losses = self._loss.new_zeros(optimizer.evaluations)
        noise = optimizer.noise() if self._draws else None
        pool = None
        optimizer.rates = self._rates
        try:
            for i in range(optimizer.evaluations):
                kind = self._kind(i)
                if kind not in self._graphs:
                    with captured(pool, noise) as graph:
                        self._one(i)
                    self._graphs[kind], pool = graph, graph.pool()
        finally:
            optimizer.rates = None

    def _one(self, i: int) -> None:
        """Gradient i of a step, and what it is for."""
        optimizer = self._optimizer
        if i == 0:
            with InPieces():
                self._step = Step(optimizer)
                optimizer.before(0, self._step.blocks)
        step = self._step
        assert step is not None
        step.taken = i
        loss = step.evaluate(lambda: self._objective.on_device(*self._inputs, again=optimizer.again(i)))
        last = i == step.evaluations - 1
        if i == 0 or last:
            self._losses[i].copy_(loss)
        else:
            self._between = loss  # of several evaluations: each goes to its place after its replay
        with InPieces():
            step.take()
            step.empty()
            if last:
                step.losses = list(self._losses.unbind())
                self._loss = step.examine()
                step.leave()
                step.descend()
                for group in optimizer.param_groups:  # captured, not done
                    group["outer_steps"] -= 1
