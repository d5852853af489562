"""What ranks that divide the evaluations of a step compute, for test_replicas.py: run under `launch` with a folder.

The same functions run there with one rank, for reference.
"""

from __future__ import annotations

import copy
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from deeprelax.optim import Relaxation
from deeprelax.parallel.ranks import SOLO, Ranks
from deeprelax.runs.build import build_optimizer
from deeprelax.runs.sharing import shared_by
from deeprelax.runs.train import compose_objective
from deeprelax.training.share import Share
from tests.parallel.rank_job import all_reduces, configuration, make, task, weights

METHODS = ("parle", "elastic_sgd", "replicated_sgd")  # with six replicas
TWO = "m_rwp"  # two gradients, which two ranks divide, and no other number
STEPS = 4


class Noisy(nn.Sequential):
    """float64, with batch norm and dropout: what is drawn for an evaluation shows in the weights."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(144, 5)
        )
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(x.double())
        return out


class Run:
    """A method in the middle of a training, noise and all."""

    def __init__(self, method: str, ranks: Ranks = SOLO) -> None:
        self.model, conf = make(Noisy), configuration(method, "data")
        if method in METHODS:
            conf.optimizer.replicas = 6
        optimizer = build_optimizer(conf.optimizer, self.model)
        assert isinstance(optimizer, Relaxation)
        self.optimizer, self.share = optimizer, Share(ranks, shared_by(conf, ranks.world))
        work = task(self.share.by, ranks)
        self.objective = compose_objective(conf, work, self.model, optimizer, self.share, torch.zeros(2))

    def go(self, steps: int) -> Run:
        for _ in range(steps):
            self.objective.step(lambda: self.optimizer.step(self.objective))
        return self

    def state(self) -> dict[str, Any]:
        """As a checkpoint has it; on all ranks."""
        kept = self.share.gather_chains(self.optimizer)
        found = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "ranks": kept}
        return copy.deepcopy(found)  # torch hands out its own tensors

    def load(self, state: dict[str, Any], counts: tuple[int, int]) -> Run:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.share.restore_chain(self.optimizer, state["ranks"])
        self.objective.counts = counts
        return self

    def found(self) -> dict[str, Any]:
        names = sorted({name for state in self.optimizer.state.values() for name in state})
        return {"weights": weights(self.model), "counts": self.objective.counts, "names": names}


def main(folder: Path) -> None:
    from deeprelax.parallel import launch
    from deeprelax.parallel.ranks import from_environment, join, leave
    from tests.images import CPU

    torch.set_num_threads(1)
    ranks = from_environment()
    assert ranks is not None

    join(ranks, CPU, launch.store(ranks))
    found: dict[str, Any] = {}
    for method in (*METHODS, TWO) if ranks.world == 2 else METHODS:
        run = Run(method, ranks)
        with all_reduces() as calls:
            run.go(STEPS)
        state = run.state()
        box = [state]
        dist.broadcast_object_list(box)  # everybody loads what rank 0 saved
        resumed = Run(method, ranks).load(copy.deepcopy(box[0]), run.objective.counts).go(1)
        found[method] = {
            **run.found(),
            "all_reduces": calls,
            "state": state,
            "whole": run.go(1).found(),
            "resumed": resumed.found(),
        }
    torch.save(found, folder / f"{ranks.rank}.pt")
    dist.barrier()
    leave()
    os._exit(0)  # as deeprelax.runs.rank does


if __name__ == "__main__":
    main(Path(sys.argv[1]))
