"""Gaussian noise for all parameters at once, a function of a key and of nothing else."""

from __future__ import annotations

import hashlib

import torch

from .buffers import Buffers


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
