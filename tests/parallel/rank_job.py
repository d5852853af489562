"""What two ranks compute, to be compared by test_ranks.py: run as `python rank_job.py FOLDER` under `launch`.

The same functions run there with one rank, for reference.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from hydra import compose, initialize_config_dir
from torch import Tensor, nn

from deeprelax.configuration.check import checked
from deeprelax.configuration.hydra_app import configuration_folder
from deeprelax.configuration.schema import TrainConf
from deeprelax.parallel.ranks import Ranks
from deeprelax.runs.build import build_optimizer
from deeprelax.runs.parameters import freeze
from deeprelax.runs.sharing import shared_by
from deeprelax.runs.train import compose_objective
from deeprelax.tasks.classification import Classification
from deeprelax.training import share as share_module
from deeprelax.training.evaluation import score
from deeprelax.training.objective import Autocast, Loss, Objective
from deeprelax.training.share import Share
from tests.images import CPU, classification, random_images
from tests.optim.reference_replicas import WITH_REPLICAS
from tests.optimizers import TRAINED

# those with replicas divide these, whatever share=data would divide
CHAINS = [name for name in TRAINED if name not in ("sgd", "adamw", *WITH_REPLICAS)]


class Plain(nn.Sequential):
    """float64, without batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 5))
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(x.double())
        return out


class Full(nn.Sequential):
    """With batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(144, 5)
        )


def make(network: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return network()


def task(share: str, ranks: Ranks, n: int = 333) -> Classification:
    return classification(random_images(n, 3, 8, 5, seed=1), 64, augment="flip_crop", **Share(ranks, share).of_batches)


def configuration(optimizer: str, share: str) -> TrainConf:
    with initialize_config_dir(str(configuration_folder()), version_base="1.3"):
        overrides = [*TRAINED[optimizer], f"hardware.share={share}", "batch_size=64", "dataset.augment=flip_crop"]
        return checked(compose("train", overrides))


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def descend(network: type[nn.Module], optimizer: str, share: str, steps: int, ranks: Ranks) -> Tensor:
    """The weights after some outer steps."""
    model, conf = make(network), configuration(optimizer, share)
    algorithm = build_optimizer(conf.optimizer, model)
    share = Share(ranks, shared_by(conf, ranks.world))
    objective = compose_objective(conf, task(share.by, ranks), model, algorithm, share, torch.zeros(2))
    for _ in range(steps):
        objective.step(lambda: algorithm.step(objective))
    return weights(model)


def partly_frozen(share: str, ranks: Ranks) -> dict[str, Tensor]:
    """The parameters after some steps with the convolution's bias frozen, and a rate of its own for the head's weight.

    By "data" of SGD, by "chains" of Entropy-SGD.
    """
    model, name = make(Plain), {"data": "sgd", "chains": "entropy_sgd"}[share]
    conf = configuration(name, share)
    conf.optimizer.groups = [{"match": "3.weight", "lr": 0.5 if share == "chains" else 0.02}]
    freeze(model, ["0.bias"])
    algorithm = build_optimizer(conf.optimizer, model, freezes=True)
    objective = compose_objective(conf, task(share, ranks), model, algorithm, Share(ranks, share), torch.zeros(2))
    for _ in range(5):
        algorithm.step(objective)
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def one_chain(optimizer: str, chain: int) -> Tensor:
    """d of one process that runs the chain of this index on batches of half the size."""
    model, conf = make(Full), configuration(optimizer, "chains")
    algorithm = build_optimizer(conf.optimizer, model)
    algorithm.chain = chain
    found: list[Tensor] = []
    algorithm.reduce_direction = lambda tensors: found.append(torch.cat([t.flatten() for t in tensors[:-1]]))
    own = classification(random_images(333, 3, 8, 5, seed=1), 64, augment="flip_crop", chain=(chain, 2))
    algorithm.step(Objective(Loss(own, model, Autocast("float32", CPU)), own, rank=chain))
    return found[0]


def chains(optimizer: str, ranks: Ranks) -> dict[str, Any]:
    """The averaged d of the first step, the all-reduces it took, and this rank's own d after a save and a load."""
    model, conf = make(Full), configuration(optimizer, "chains")
    algorithm = build_optimizer(conf.optimizer, model)
    share, flags = Share(ranks, "chains"), torch.tensor([0.0, float(ranks.rank)])
    objective = compose_objective(conf, task(conf.hardware.share, ranks), model, algorithm, share, flags)
    before, average = weights(model), algorithm.reduce_direction
    assert average is not None
    found: list[Tensor] = []

    def averaged(tensors: list[Tensor]) -> None:
        average(tensors)
        found.append(torch.cat([t.flatten() for t in tensors[:-1]]))

    algorithm.reduce_direction = averaged
    with all_reduces() as calls:
        algorithm.step(objective)
    assert not torch.equal(before, weights(model))
    again = build_optimizer(conf.optimizer, model)
    later = compose_objective(conf, task("chains", ranks), model, again, Share(ranks, "chains"), torch.zeros(2))
    box = [algorithm.state_dict()]
    dist.broadcast_object_list(box)  # everybody loads what rank 0 saved
    again.load_state_dict(box[0])
    later.counts = objective.counts
    own: list[Tensor] = []
    again.reduce_direction = lambda tensors: own.append(torch.cat([t.flatten() for t in tensors[:-1]]))
    again.step(later)
    counts = {"all_reduces": calls, "traffic": share.traffic_bytes}
    return {"d": found[0], "own": own[0], "flags": flags, **counts}


@contextmanager
def all_reduces() -> Iterator[list[int]]:
    """The bytes of each all-reduce that this process calls."""
    calls: list[int] = []
    reduce = dist.all_reduce
    dist.all_reduce = lambda tensor: (calls.append(tensor.nbytes), reduce(tensor))[1]
    try:
        yield calls
    finally:
        dist.all_reduce = reduce


def averaged(ranks: Ranks) -> dict[str, Any]:
    """The gradient and its all-reduces by one flat tensor, and by DistributedDataParallel, as large networks have it.

    The network has a parameter that no loss reaches.
    """
    found, smallest = {}, share_module.SMALL
    for name, small in (("flat", smallest), ("ddp", 0)):
        share_module.SMALL = small
        try:
            model, conf = make(Full), configuration("sgd", "data")
            model.unused = nn.Parameter(torch.ones(3))
            algorithm = build_optimizer(conf.optimizer, model)
            share, flags = Share(ranks), torch.tensor([0.0, float(ranks.rank)])
            objective = compose_objective(conf, task("data", ranks), model, algorithm, share, flags)
            with all_reduces() as calls:
                losses = [objective().detach() for _ in range(2)]
        finally:
            share_module.SMALL = smallest
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        found[name] = {
            "gradient": torch.cat([g.flatten() for g in gradients]), "losses": torch.stack(losses), "flags": flags,
            "calls": calls, "traffic": share.traffic_bytes, "step": algorithm.reduce_direction is not None,
        }  # fmt: skip
    return found


def evaluated(ranks: Ranks) -> dict[str, float]:
    whole = task("data", ranks, 3456)
    return score(whole, make(Full), whole.splits()["test"], Autocast("float32", CPU), ranks)


def main(folder: Path) -> None:
    from deeprelax.parallel import launch
    from deeprelax.parallel.ranks import from_environment, join, leave

    torch.set_num_threads(1)
    ranks = from_environment()
    assert ranks is not None

    join(ranks, CPU, launch.store(ranks))
    shares = [(name, "data") for name in TRAINED] + [(name, "chains") for name in CHAINS]
    found = {
        "weights": {f"{name} {share}": descend(Full, name, share, 50, ranks) for name, share in shares},
        "plain": {name: descend(Plain, name, "data", 20, ranks) for name in TRAINED},
        "chains": {name: chains(name, ranks) for name in CHAINS},
        "averaged": averaged(ranks),
        "frozen": {share: partly_frozen(share, ranks) for share in ("data", "chains")},
        "scores": evaluated(ranks),
    }
    torch.save(found, folder / f"{ranks.rank}.pt")
    dist.barrier()
    leave()
    os._exit(0)  # as deeprelax.runs.rank does


if __name__ == "__main__":
    main(Path(sys.argv[1]))
