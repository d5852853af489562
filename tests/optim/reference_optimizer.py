"""The optimizer that runs the rules of `reference.py` and `reference_replicas.py`, with the noise of the package."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from deeprelax.optim.scratch import Buffers, Noise

from .reference import OUTER, Again, Loss, Norm, Rule, mean_of_z, schedule_free


class Reference:
    """An optimizer made of a rule and groups: dictionaries of "params" and of every keyword that the rule has."""

    def __init__(self, rule: Rule, groups: list[dict[str, Any]], *, seed: int = 0, chain: int = 0) -> None:
        self.rule, self.seed, self.chain, self.outer_steps = rule, seed, chain, 0
        self.pairs = [(p, group) for group in groups for p in group["params"]]
        self.params = [p for p, _ in self.pairs]
        self.state: list[dict[str, Any]] = [{} for _ in self.params]  # of the outer rule
        self.kept: list[dict[str, Any]] = [{} for _ in self.params]  # of the inner one

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> None:
        """One outer step; the closure leaves the gradient of its next mini-batch in the parameters' .grad."""
        x = [p.clone() for p in self.params]
        d = self.directions(x, closure)
        for i, (p, group) in enumerate(self.pairs):
            decay = 0.0 if group.get("inner") == "adamw" else group.get("decoupled_weight_decay", 0.0)
            outer = mean_of_z if self.rule is schedule_free else OUTER[group.get("outer", "momentum")]
            p.copy_(outer(x[i], d[i], self.state[i], decay=decay, kept=self.kept[i], **group))
            p.add_(self.kept[i].pop("then", 0.0))  # what goes by without the rule
        self.outer_steps += 1

    def directions(self, x: list[Tensor], closure: Callable[[], Tensor]) -> list[Tensor]:
        """d of every tensor: each rule is sent what it asks for until it returns."""
        xi = gaussians(self.params, self.seed, self.outer_steps, self.chain)
        replicas = range(self.pairs[0][1].get("replicas", 0))
        own = [gaussians(self.params, self.seed, self.outer_steps, a) for a in replicas]
        rules = [
            self.rule(x[i], xi[i], self.outer_steps, **self.beside(i), of_replicas=[z[i] for z in own], **group)
            for i, (_, group) in enumerate(self.pairs)
        ]
        asked, d = [next(rule) for rule in rules], list[Tensor]()
        while not d:
            sent, asked = self.answers(asked, closure), []
            for rule, answer in zip(rules, sent, strict=True):
                try:
                    asked.append(rule.send(answer))
                except StopIteration as end:
                    d.append(end.value)
        return d

    def beside(self, i: int) -> dict[str, dict[str, Any]]:
        """What a rule keeps of tensor i, and what the outer rule does."""
        return {"kept": self.kept[i], "outer_state": self.state[i]}

    def answers(self, asked: list[Any], closure: Any) -> list[Tensor]:
        """The norm, or the gradients at these places; weight decay belongs to f, so it is taken there alone."""
        if isinstance(asked[0], Loss):
            return [self.loss] * len(asked)
        if isinstance(asked[0], Norm):
            squares = [each.part.double().square().sum() for each in asked]
            return [torch.stack(squares).sum().sqrt()] * len(asked)
        for p, place in zip(self.params, asked, strict=True):
            p.copy_(place.y if isinstance(place, Again) else place)
        with torch.enable_grad():
            loss = closure.again() if isinstance(asked[0], Again) else closure()
        decays = [0.5 * group["weight_decay"] * p.square().sum() for p, group in self.pairs]
        self.loss = loss.detach() + torch.stack(decays).sum()
        return [p.grad.add(p, alpha=group["weight_decay"]) for p, group in self.pairs]


def gaussians(params: list[Tensor], *key: int) -> list[Iterator[Tensor]]:
    """For each tensor its N(0, 1) draws of one outer step, in the order of the package: all tensors draw together."""
    noise = Noise()
    noise.seed(*key)

    def draws() -> Iterator[list[Tensor]]:
        while True:
            buffers = Buffers(params)
            noise.fill(buffers)
            yield buffers.like(params)

    return [map(itemgetter(i), copy) for i, copy in enumerate(itertools.tee(draws(), len(params)))]
