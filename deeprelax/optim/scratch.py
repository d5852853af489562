"""What a step works with: the parameters of a group (Block), memory like them (Buffers), Gaussian noise (Noise).

None of it is state: a checkpoint needs nothing from here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ._lazy import outside_compiler
from .shards import gradient, is_sharded, place, plain

ROOM = 8  # numbers behind each flat tensor


@dataclass(slots=True)
class Block:
    """The parameters of one group that take part in a step."""

    group: dict[str, Any]  # its hyper-parameters, as `settings` has them
    params: list[Tensor]  # what .grad and state belong to
    y: list[Tensor]  # the parameters themselves, or their plain numbers (`shards`): where the gradient is taken
    x: list[Tensor]  # their values at the start of the step; y itself in an optimizer that does not move them
    d: list[Tensor]  # the direction, filled in place by the subclass
    rate: float | Tensor  # lr of the outer rule; a 0-dim tensor on the device in a step that is captured
    plain: bool = True  # are all parameters plain real tensors?

    def gradients(self) -> list[Tensor]:
        """grad f(y), weight decay included: f holds weight_decay/2 |y|^2. Overwrites the parameters' .grad."""
        for p in self.params:
            if p.grad is None:  # the first evaluation of the step reached it, this one did not
                p.grad = torch.zeros_like(p)
        grads = [p.grad for p in self.params if p.grad is not None] if self.plain else list(map(gradient, self.params))
        if grads and self.group["weight_decay"]:
            torch._foreach_add_(grads, self.y, alpha=self.group["weight_decay"])
        return grads

    def take_gradients(self) -> None:
        """d <- grad f(y). On a CPU d becomes the gradients themselves: memory traffic is what a step costs there."""
        gradients = self.gradients()
        if all(map(host_knows, gradients)):
            self.d = gradients
        else:
            copy_(self.d, gradients)

    def split(self) -> Block:
        """Keep the parameters that have a gradient; the others return to x and leave the step.

        Raises ValueError for sparse gradients.
        """
        grads = [p.grad for p in self.params]
        if any(g.layout is not torch.strided for g in grads if g is not None):
            raise ValueError("sparse gradients are not supported: build the layer dense, as nn.Embedding(sparse=False)")
        if all(g is not None for g in grads):
            return self
        used = [i for i, g in enumerate(grads) if g is not None]
        unused = [i for i, g in enumerate(grads) if g is None]
        copy_([self.y[i] for i in unused], [self.x[i] for i in unused])
        params, y, x, d = ([tensors[i] for i in used] for tensors in (self.params, self.y, self.x, self.d))
        return Block(self.group, params, y, x, d, self.rate, self.plain)


def host_knows(tensor: Tensor) -> bool:
    """May the host ask for a number without waiting? Not on a GPU, where a step asks for none."""
    return tensor.device.type == "cpu"


def copy_(to: list[Tensor], source: list[Tensor]) -> None:
    """torch._foreach_copy_ that takes empty lists."""
    if to:
        torch._foreach_copy_(to, source)


class Buffers:
    """A tensor like each parameter, all of a device and data type in one flat tensor; contents undefined at first.

    What is done to all numbers alike (a draw, a mask) is one operation on `flats`; what takes the parameters or their
    gradients goes over `like`, whose tensors have the parameters' own memory format. `places` says which shard of a
    parameter this rank holds: a flat tensor is of one place. Behind each there is room for some more numbers (`roomy`),
    for what is to travel with it.
    """

    def __init__(self, params: list[Tensor], of: list[Tensor] | None = None) -> None:
        """`params` are plain tensors, those of the parameters `of`."""
        keys = [(p.device, p.dtype, place(whole)) for p, whole in zip(params, of or params, strict=True)]
        sizes = dict.fromkeys(keys, 0)
        for key, p in zip(keys, params, strict=True):
            sizes[key] += p.numel()
        flats = {key: torch.empty(n + ROOM, device=key[0], dtype=key[1])[:n] for key, n in sizes.items()}
        self.flats, self.places = list(flats.values()), [key[2] for key in flats]
        self._views: dict[Tensor, Tensor] = {}
        offsets = dict.fromkeys(sizes, 0)
        for key, p in zip(keys, params, strict=True):
            strides = torch.empty_like(p, device="meta").stride()  # dense
            self._views[p] = flats[key].as_strided(p.shape, strides, offsets[key])
            offsets[key] += p.numel()

    @staticmethod
    def roomy(flat: Tensor, more: int) -> Tensor:
        """One of `flats` with so many numbers behind it, at most ROOM, whose contents are undefined."""
        return flat.as_strided((flat.numel() + more,), (1,))

    def like(self, params: list[Tensor]) -> list[Tensor]:
        """One tensor for each of these parameters."""
        return [self._views[p] for p in params]


class Workspace:
    """The buffers of an optimizer by their names, and the plain numbers of its parameters (`shards`)."""

    def __init__(self) -> None:
        self.held: dict[str, Buffers] = {}
        self.numbers: dict[Tensor, Tensor] = {}
        self.plain = True  # are all of them the parameters themselves?
        self.single: dict[str, Tensor] = {}
        self._like: list[object] = []
        self._counters: dict[tuple[Tensor, torch.device, torch.dtype], Tensor] = {}

    @outside_compiler
    def fit(self, params: list[Tensor]) -> None:
        """A parameter that was added, frozen or moved since the last step changes what the buffers must be like."""
        now: list[object] = [(id(p), p.device, p.dtype) for p in params]
        if not self.plain:
            now += [plain(p).data_ptr() for p in params]
        if now != self._like:
            self.plain = not any(is_sharded(p) or p.is_complex() for p in params)
            self.held, self.single, self._counters, self._like = {}, {}, {}, now
            self.numbers = {p: plain(p) for p in params}

    @outside_compiler
    def buffers(self, name: str) -> Buffers:
        """Memory shaped like the numbers, the same from step to step."""
        if name not in self.held:
            self.held[name] = self.alike()
        return self.held[name]

    @outside_compiler
    def number(self, name: str, device: torch.device) -> Tensor:
        """A 0-dim float64 tensor, the same from step to step; a step saved in its middle has it too."""
        if name not in self.single:
            self.single[name] = torch.zeros((), dtype=torch.float64, device=device)
        return self.single[name]

    def counter(self, key: Tensor, like: Tensor) -> Tensor:
        """A count on a device, the same from step to step for a parameter; one for each data type."""
        place = (key, like.device, like.dtype)
        if place not in self._counters:
            self._counters[place] = torch.zeros((), device=like.device)
        return self._counters[place]

    def alike(self) -> Buffers:
        """New memory of that shape."""
        return Buffers(list(self.numbers.values()), list(self.numbers))


class Noise:
    """Standard Gaussians: a sequence of draws that belongs to a key of non-negative integers.

    Drawing is most of the cost of Langevin dynamics on a CPU; one large contiguous draw is the fastest form. The
    generators are our own, so a resumed run and every rank draw the same numbers without saving or sending any state;
    ranks that hold different shards draw different ones.
    """

    def __init__(self) -> None:
        self._key: tuple[int, ...] = ()
        self.draws = 0  # of this sequence, so far
        self.captured = False  # by a graph now, whose replays draw from where the generators are then?
        self._generators: dict[tuple[torch.device, tuple[int, ...]], torch.Generator] = {}

    @outside_compiler
    def seed(self, *key: int) -> None:
        """Start the sequence that belongs to this key."""
        self._key, self.draws = tuple(map(int, key)), 0
        if self.captured:
            return
        for number, ((_, where), generator) in enumerate(self._generators.items()):
            generator.manual_seed(self._seed(number, where))

    @property
    def generators(self) -> list[torch.Generator]:
        """One for each device and shard that numbers were drawn for."""
        return list(self._generators.values())

    def _seed(self, number: int, where: tuple[int, ...]) -> int:
        # `person` keeps the keys apart from those that a caller may hash into seeds of other things. CPU generators
        # keep 32 bits of the seed only, so neighbouring keys must not give neighbouring seeds.
        name = repr(self._key + where).encode()
        found = int.from_bytes(hashlib.blake2b(name, digest_size=8, person=b"relaxation").digest())
        return found ^ number  # devices that share a network draw different numbers

    @outside_compiler
    def fill(self, buffers: Buffers) -> None:
        """Overwrite the buffers with the next N(0, 1) numbers."""
        self.draws += 1
        for flat, where in zip(buffers.flats, buffers.places, strict=True):
            key = (flat.device, where)
            if key not in self._generators:
                generator = torch.Generator(flat.device).manual_seed(self._seed(len(self._generators), where))
                self._generators[key] = generator
            flat.normal_(generator=self._generators[key])
