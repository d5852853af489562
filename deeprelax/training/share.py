"""How the ranks share the work: the words of `hardware.share`."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..configuration.schema import TrainConf
from ..data.augment import AUGMENTATIONS
from ..data.batches import Batches, Images
from ..errors import UserError
from ..optim import Relaxation
from ..parallel.ranks import Ranks
from .objective import Objective


def shared_objective(
    conf: TrainConf, images: Images, model: nn.Module, optimizer: Relaxation, ranks: Ranks, stop: Tensor
) -> Objective:
    """This rank's share of the objective; also tells the optimizer what the ranks average.

    data    each evaluation is one batch, its parts on all ranks, and every gradient is averaged: W ranks with parts of
            B/W images follow one rank with batches of B. At the end of a step the loss alone is averaged.
    chains  each rank runs an inner chain of its own on batches of B/W images, with its own order, augmentation, noise
            and dropout. At the end of a step d and the loss are averaged, in one all-reduce.

    `stop` is a number on the device that is averaged too, in the same all-reduce: a rank that was asked to stop tells
    the others so. One call on all ranks counts as one gradient evaluation either way. Raises UserError for a network
    without parameters.
    """
    seed, augmentation = conf.seed, AUGMENTATIONS[conf.dataset.augment]
    precision, graphs = conf.hardware.precision, conf.hardware.cuda_graphs
    if ranks.world == 1:
        batches = Batches(images, conf.batch_size, seed, augmentation)
        return Objective(_compiled(model, conf), batches, seed, precision, graphs=graphs)
    if conf.hardware.share == "chains":
        optimizer.chain = ranks.rank
        optimizer.reduce_direction = lambda tensors: ranks.mean_([*tensors, stop])
        batches = Batches(images, conf.batch_size // ranks.world, seed, augmentation, chain=ranks.rank)
    else:
        optimizer.reduce_direction = lambda tensors: ranks.mean_([tensors[-1], stop])
        batches = Batches(images, conf.batch_size, seed, augmentation, part=(ranks.rank, ranks.world))
        model = _averaging_gradients(model, images.device, sync_batchnorm=conf.hardware.sync_batchnorm)
    return Objective(_compiled(model, conf), batches, seed, precision, ranks.rank, graphs=graphs)


def _compiled(model: nn.Module, conf: TrainConf) -> nn.Module:
    """The network itself, or what compiles it at the first call; its parameters are the same."""
    return torch.compile(model) if conf.hardware.compile else model  # type: ignore[return-value]


def compile_problem(error: Exception) -> UserError | None:
    """What to tell the user of an error of torch's compiler; None if it is another's."""
    if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return None
    reason = str(error).strip().splitlines()[0]
    return UserError(f"torch cannot compile this ({reason}): leave it out")


def _averaging_gradients(model: nn.Module, device: torch.device, *, sync_batchnorm: bool) -> nn.Module:
    """The network, such that its backward pass averages gradients over the ranks."""
    if not any(p.requires_grad for p in model.parameters()):
        raise UserError("the model has no parameters to train")

    if sync_batchnorm:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    with warnings.catch_warnings():
        # torch 2.15 renames broadcast_buffers; the older releases that we support know this name only.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        ids = [device.index] if device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)
