"""All claims of the paper's abstract, measured: a line each, and verify.json."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ... import files
from ...errors import UserError
from ...ranges import each, whole
from ..claims import HEADER, Claim
from ..settings import Settings

# claim: the command whose module COMMAND_claims measures it, imported late, for claims 2 and 6 need torch
CLAIMS = {
    1: "converge",  # the relaxations solve their equations
    2: "directions",  # the optimizers' mean directions are the gradients of the relaxed losses
    3: "control",  # the controlled diffusion does better in expectation
    4: "widen",  # curvature is bounded, minima widen, and which of them wins
    5: "homogenize",  # the two-scale diffusion follows the gradient flow of u
    6: "descend",  # descent on the relaxed losses reaches the global basin
}
DRAWN = (2, 3, 5, 6)  # the others draw nothing


@dataclass
class Verify(Settings):
    """Which claims, and how much is drawn: seed of all draws, paths of the diffusion, chains of an optimizer."""

    claims: list[int] = each(lambda v: v in CLAIMS, f"an integer from {min(CLAIMS)} to {max(CLAIMS)}")
    seed: int = whole(0)
    paths: int = whole(100, 10**7)
    chains: int = whole(200, 10**6)  # fewer do not know their own standard error


def run(settings: Verify, directory: Path) -> None:
    """Print a line for each claim, write verify.json. Raises UserError if one fails."""
    print(HEADER)
    records, failed = [], 0
    for found in verified(settings):
        print("\n".join(claim.line() for claim in found), flush=True)
        records += [claim.record() for claim in found]
        failed += sum(not claim.holds for claim in found)
    about = {"seed": settings.seed, "paths": settings.paths, "chains": settings.chains}
    files.write_json(directory / "verify.json", {**about, "all_hold": not failed, "claims": records})
    print(f"{len(records) - failed} of {len(records)} hold; wrote {directory / 'verify.json'}")
    if failed:
        raise UserError(f"{failed} of {len(records)} claims fail: see the lines with FAILS")


def verified(settings: Verify) -> Iterator[list[Claim]]:
    """The measured claims of each number, one after the other; a number named twice is measured once."""
    for number in dict.fromkeys(settings.claims):
        module = importlib.import_module(f".{CLAIMS[number]}_claims", __package__)
        claims: Callable[..., list[Claim]] = module.claims
        yield claims(settings) if number in DRAWN else claims()
