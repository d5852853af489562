"""All claims of the paper's abstract, measured."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..claims import Claim

# claim: (module with a function claims, what it is about); imported late, for claims 2 and 6 need torch
CLAIMS = {
    1: ("converge", "the relaxations solve their equations"),
    2: ("directions_claims", "the optimizers' mean directions are the gradients of the relaxed losses"),
    3: ("control_claims", "the controlled diffusion does better in expectation"),
    4: ("widen_claims", "curvature is bounded, minima widen, and which of them wins"),
    5: ("homogenize", "the two-scale diffusion follows the gradient flow of u"),
    6: ("descend", "descent on the relaxed losses reaches the global basin"),
}


@dataclass(frozen=True)
class Samples:
    """How much is drawn: seed of all draws, paths of the controlled diffusion, chains of an optimizer at a point."""

    seed: int = 0
    paths: int = 100_000
    chains: int = 1000


def verified(numbers: Sequence[int], samples: Samples) -> Iterator[tuple[int, str, list[Claim]]]:
    """Number, heading and measured claims, one after the other."""
    for number in numbers:
        module, heading = CLAIMS[number]
        claims: Callable[..., list[Claim]] = importlib.import_module(f".{module}", __package__).claims
        yield number, heading, claims(samples) if number in (2, 3, 5, 6) else claims()
