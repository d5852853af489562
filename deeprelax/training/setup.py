"""From a configuration to data, network and optimizer on a device."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import nn

from ..config import DatasetConf, HardwareConf, ImageFolderConf, ModelConf, OptimizerConf, keywords
from ..data.batches import Images
from ..data.images import ImageData, part
from ..data.normalize import fit
from ..data.store import data_folder
from ..errors import UserError
from ..optim import Relaxation
from ..randomness import Purpose, derive_seed
from ..registry import call, resolve


@dataclass(frozen=True, slots=True)
class Data:
    """A data set on the device."""

    train: Images
    test: Images
    validation: Images | None
    channels: int
    image_size: int
    classes: tuple[str, ...]


def use_hardware(conf: HardwareConf, threads: int | None = None) -> torch.device:
    """Set the number of CPU threads and return the device. Raises UserError if there is no GPU but one is asked for.

    `threads` is what a checkpoint recorded; the configuration's word goes first, then it, then the cores at hand.
    """
    torch.set_num_threads(conf.threads or threads or len(os.sched_getaffinity(0)))
    if conf.device == "cpu" or (conf.device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("hardware.device=cuda, but torch sees no GPU: use hardware.device=cpu or auto")
    return torch.device("cuda", torch.cuda.current_device())


def load_data(conf: DatasetConf, data_dir: str | None, device: torch.device) -> Data:
    """Read the data set, split it and put it on the device. Raises UserError for files missing or damaged."""
    own = {"image_size": conf.image_size} | ({"path": conf.path} if isinstance(conf, ImageFolderConf) else {})
    options = {**({} if ":" in conf.name else own), **conf.options}
    whole: ImageData = call("dataset", conf.name, data_folder(data_dir), **options)
    data = part(whole, train_size=conf.train_size, validation=conf.validation)
    normalization = fit(conf.normalize, data.train.images)
    train, test = (Images(split, normalization, device) for split in (data.train, data.test))
    validation = Images(data.validation, normalization, device) if data.validation is not None else None
    return Data(train, test, validation, data.channels, data.image_size, data.classes)


def build_model(conf: ModelConf, data: Data, seed: int, device: torch.device) -> nn.Module:
    """The network with its initial weights, a function of the seed. Raises UserError for images too small for it."""
    shape = (data.channels, data.image_size, len(data.classes))
    smallest = getattr(resolve("model", conf.name), "smallest_image", 1)
    if data.image_size < smallest:
        raise UserError(
            f"model={conf.name} takes images of {smallest} pixels or more, these have {data.image_size}: "
            f"set dataset.image_size={smallest} or more, or take another model"
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, Purpose.WEIGHTS))
        model: nn.Module = call("model", conf.name, *shape, **keywords(conf))
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def build_optimizer(conf: OptimizerConf, model: nn.Module) -> Relaxation:
    """The optimizer over the network's parameters. Raises UserError if it is not a Relaxation."""
    optimizer = call("optimizer", conf.name, model.parameters(), **keywords(conf))
    if not isinstance(optimizer, Relaxation):
        raise UserError(f"optimizer.name={conf.name} is not a deeprelax.optim.Relaxation: derive it from that class")
    return optimizer
