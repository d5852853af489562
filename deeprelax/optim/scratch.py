"""What a step works with: the parameters of a group (Block), memory like them (Buffers), Gaussian noise (Noise).

None of it is state: a checkpoint needs nothing from here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(slots=True)
class Block:
    """The parameters of one group that take part in a step."""

    group: dict[str, Any]
    y: list[Tensor]  # the parameters themselves: where the gradient is taken
    x: list[Tensor]  # their values at the start of the step; they themselves in an optimizer that does not move them
    d: list[Tensor]  # the direction, filled by the subclass
    d_flats: list[Tensor]  # the memory that d lies in, with that of all groups

    def gradients(self) -> list[Tensor]:
        """grad f(y), weight decay included: f holds weight_decay/2 |y|^2. Overwrites the parameters' .grad."""
        for p in self.y:
            if p.grad is None:  # the first evaluation of the step reached it, this one did not
                p.grad = torch.zeros_like(p)
        grads = [p.grad for p in self.y if p.grad is not None]
        if grads and self.group["weight_decay"]:
            torch._foreach_add_(grads, self.y, alpha=self.group["weight_decay"])
        return grads

    def take_gradients(self) -> None:
        """d <- grad f(y). On a CPU d becomes the gradients themselves: memory traffic is what a step costs there."""
        gradients = self.gradients()
        if all(g.device.type == "cpu" for g in gradients):
            self.d, self.d_flats = gradients, gradients
        else:
            copy_(self.d, gradients)

    def split(self) -> Block:
        """Keep the parameters that have a gradient; the others return to x and leave the step."""
        if all(p.grad is not None for p in self.y):
            return self
        used = [i for i, p in enumerate(self.y) if p.grad is not None]
        unused = [i for i, p in enumerate(self.y) if p.grad is None]
        copy_([self.y[i] for i in unused], [self.x[i] for i in unused])
        y, x, d = ([tensors[i] for i in used] for tensors in (self.y, self.x, self.d))
        return Block(self.group, y, x, d, self.d_flats)

    def mask_d(self, drop: Tensor | None) -> None:
        """d <- 0 where `drop`, a 0-dim tensor, is true; nothing for None."""
        if drop is not None:
            for t in self.d_flats:
                t.masked_fill_(drop.to(t.device), 0.0)


def copy_(to: list[Tensor], source: list[Tensor]) -> None:
    """torch._foreach_copy_ that takes empty lists."""
    if to:
        torch._foreach_copy_(to, source)


class Buffers:
    """A tensor like each parameter, all of a device and data type in one flat tensor; contents undefined at first.

    What is done to all numbers alike (a draw, a mask) is one operation on `flats`; what takes the parameters or their
    gradients goes over `like`, whose tensors have the parameters' own memory format.
    """

    def __init__(self, params: list[Tensor]) -> None:
        sizes: dict[tuple[torch.device, torch.dtype], int] = {}
        for p in params:
            sizes[p.device, p.dtype] = sizes.get((p.device, p.dtype), 0) + p.numel()
        flats = {key: torch.empty(n, device=key[0], dtype=key[1]) for key, n in sizes.items()}
        self.flats = list(flats.values())
        self._views: dict[Tensor, Tensor] = {}
        offsets = dict.fromkeys(sizes, 0)
        for p in params:
            key = (p.device, p.dtype)
            strides = torch.empty_like(p, device="meta").stride()  # dense
            self._views[p] = flats[key].as_strided(p.shape, strides, offsets[key])
            offsets[key] += p.numel()

    def like(self, params: list[Tensor]) -> list[Tensor]:
        """One tensor for each of these parameters."""
        return [self._views[p] for p in params]


class Noise:
    """Standard Gaussians: a sequence of draws that belongs to a key of non-negative integers.

    Drawing is most of the cost of Langevin dynamics on a CPU; one large contiguous draw is the fastest form. The
    generators are our own, so a resumed run and every rank draw the same numbers without saving or sending any state.
    """

    def __init__(self) -> None:
        self._seed = 0
        self._generators: dict[torch.device, torch.Generator] = {}

    def seed(self, *key: int) -> None:
        """Start the sequence that belongs to this key."""
        # `person` keeps the keys apart from those that a caller may hash into seeds of other things. CPU generators
        # keep 32 bits of the seed only, so neighbouring keys must not give neighbouring seeds.
        name = repr(tuple(map(int, key))).encode()
        self._seed = int.from_bytes(hashlib.blake2b(name, digest_size=8, person=b"relaxation").digest())
        for number, generator in enumerate(self._generators.values()):
            generator.manual_seed(self._seed ^ number)  # devices that share a network draw different numbers

    def fill(self, buffers: Buffers) -> None:
        """Overwrite the buffers with the next N(0, 1) numbers."""
        for flat in buffers.flats:
            if flat.device not in self._generators:
                seed = self._seed ^ len(self._generators)
                self._generators[flat.device] = torch.Generator(flat.device).manual_seed(seed)
            flat.normal_(generator=self._generators[flat.device])
