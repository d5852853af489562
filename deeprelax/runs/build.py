"""Build what a configuration names: the device, and data, network and optimizer on it."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..configuration.check import keywords
from ..configuration.datasets import NO_DATA, DatasetConf, ImageFolderConf
from ..configuration.registry import REGISTRY, call, resolve
from ..configuration.schema import HardwareConf, ModelConf, OptimizerConf, TrainConf
from ..data.augment import SCALE, Augmentation, augmentation
from ..data.batches import Data, Images
from ..data.normalize import fit
from ..data.sources.checked import checked
from ..data.sources.label_noise import with_label_noise
from ..data.sources.parts import part
from ..data.sources.store import data_folder
from ..errors import UserError
from ..optim import LBFGS, Relaxation, keep_freed_memory
from ..optim.batchnorm import has_batch_norm
from ..parallel.cores import threads
from ..parallel.ranks import SOLO, Ranks
from ..randomness import Purpose, derive_seed
from ..tasks.task import Setting, Task
from ..training.share import Share
from ..training.stepper import Stepper
from .parameters import forget_decay, freeze, grouped_by, norms_and_biases_apart, parameter_groups
from .sharing import shared_by

RANKS_A_CORE = 4  # for a trial of many ranks on a small machine


def choose_device(conf: HardwareConf, ranks: Ranks = SOLO) -> torch.device:
    """This rank's device, which becomes the process's own. Raises UserError as `count_gpus`."""
    if not count_gpus(conf, ranks):
        return torch.device("cpu")
    torch.cuda.set_device(ranks.local_rank)
    return torch.device("cuda", ranks.local_rank)


def count_gpus(conf: HardwareConf, ranks: Ranks = SOLO) -> int:
    """How many there are to work on, 0 for CPUs; none is touched.

    Raises UserError if there are fewer devices than ranks on this machine, or not those that the configuration needs.
    """
    gpus = torch.cuda.device_count() if conf.device != "cpu" else 0
    if conf.device == "cuda" and not gpus:
        raise UserError("hardware.device=cuda, but torch sees no GPU: use hardware.device=cpu or auto")
    cores = os.cpu_count() or 1
    if ranks.local_world > (gpus or RANKS_A_CORE * cores):
        there = f"{gpus} GPUs" if gpus else f"{cores} CPU cores, each for {RANKS_A_CORE} ranks at most"
        raise UserError(f"{ranks.local_world} ranks on this machine, which has {there}: lower hardware.devices")
    if conf.sync_batchnorm and ranks.world > 1 and not gpus:  # one rank sees the whole batch anyhow
        raise UserError("hardware.sync_batchnorm=true works on GPUs only: leave it out on CPUs")
    if conf.cuda_graphs:
        _check_graphs(conf, ranks, gpus)
    return gpus


def _check_graphs(conf: HardwareConf, ranks: Ranks, gpus: int) -> None:
    if not gpus:
        raise UserError("hardware.cuda_graphs=true works on GPUs only: leave it out on CPUs")
    if ranks.world > 1 and conf.share == "data":
        raise UserError("hardware.cuda_graphs=true on several ranks needs hardware.share=chains: set both, or none")


def set_up_cpu(conf: HardwareConf, recorded: int | None = None, ranks: Ranks = SOLO) -> None:
    """Threads: as configured, else as a checkpoint recorded, else as `threads` finds them. And the allocator."""
    torch.set_num_threads(conf.threads or recorded or threads(ranks.local_world))
    keep_freed_memory()


def load_data(conf: DatasetConf, data_dir: str | None, device: torch.device, *, channels_last: bool) -> Data:
    """Read the data set, split it and put it on the device.

    Raises UserError for files missing or corrupt, and for a data set of the user's that is not of the right form.
    """
    own: dict[str, Any] = {"image_size": conf.image_size}
    if isinstance(conf, ImageFolderConf):
        own |= {"path": conf.path, "split": conf.split, "split_seed": conf.split_seed, "device": device}
    options = {**({} if ":" in conf.name else own), **conf.options}
    whole = checked(call("dataset", conf.name, data_folder(data_dir), **options), conf.name)
    data = part(whole, train_size=conf.train_size, validation=conf.validation, parts=conf.parts)
    data = with_label_noise(data, conf.label_noise, conf.label_seed)
    on_device = functools.partial(
        Images, normalization=fit(conf.normalize, data.train.images), device=device, channels_last=channels_last
    )
    validation = on_device(data.validation) if data.validation is not None else None
    return Data(on_device(data.train), on_device(data.test), validation, data.channels, data.image_size, data.classes)


def build_task(conf: TrainConf, device: torch.device, share: Share) -> Task:
    """The task on the device. Raises UserError for files missing or corrupt, and for a data set that it cannot use."""
    name, load = conf.task.name, None
    if conf.dataset.name != NO_DATA:
        load = functools.partial(_loaded, conf, device)
    dtype = torch.float64 if conf.hardware.precision == "float64" else torch.float32
    half = conf.hardware.precision == "bfloat16"
    setting = Setting(
        device, conf.seed, conf.batch_size, load_data=load, dtype=dtype, bfloat16=half, **share.of_batches
    )
    kind = resolve("task", name)
    if load is not None and not getattr(kind, "takes_data", True):
        raise UserError(f"task={name} has data of its own: leave dataset={conf.dataset.name} out")
    task = call("task", name, setting, **keywords(conf.task))
    if not isinstance(task, Task):
        raise UserError(f"task.name={name} is not a deeprelax.tasks.Task: derive it from that class")
    share.check(task)
    _check_precision(conf.hardware, task, name)
    _check_loss(conf, task)
    return task


def _check_loss(conf: TrainConf, task: Task) -> None:
    if conf.hardware.cuda_graphs and not task.captures:
        raise UserError(f"hardware.cuda_graphs=true cannot capture the loss of task={conf.task.name}: leave it out")
    if conf.optimizer.name == "lbfgs" and task.scheduled:
        keys = " and ".join(f"task.{key}={getattr(conf.task, key)}" for key in task.scheduled)
        raise UserError(
            f"{keys} change the loss from time to time, and optimizer=lbfgs needs one that stays: leave that out, or "
            "take another optimizer"
        )


def _check_precision(conf: HardwareConf, task: Task, name: str) -> None:
    if task.derivatives and conf.precision == "bfloat16":
        raise UserError(
            f"hardware.precision=bfloat16 has too few digits for the derivatives in the loss of task={name}: "
            "use float32 or float64"
        )
    if conf.precision == "float64" and not task.derivatives:
        raise UserError(
            f"hardware.precision=float64 is for losses made of derivatives, which task={name} has not: use float32"
        )
    if task.derivatives and conf.compile and not task.compiles:
        raise UserError(
            f"hardware.compile=true cannot differentiate the loss of task={name} twice backward: take forward mode, "
            "task.differentiation=forward, or leave it out"
        )


def _loaded(conf: TrainConf, device: torch.device) -> tuple[Data, Augmentation | None]:
    dataset = conf.dataset
    data = load_data(dataset, conf.data_dir, device, channels_last=conf.hardware.channels_last)
    if dataset.color_jitter and data.channels not in (1, 3):
        raise UserError(
            f"dataset.color_jitter={dataset.color_jitter:g}: the images have {data.channels} channels, and those of 1 "
            "(grey) or 3 (colour) alone have colours: leave it out"
        )
    least, largest = dataset.crop_scale or SCALE
    return data, augmentation(
        dataset.augment, data.image_size, mirror=dataset.mirror, padding=dataset.crop_padding, scale=(least, largest),
        jitter=dataset.color_jitter,
    )  # fmt: skip


def build_model(conf: ModelConf, task: Task, seed: int, device: torch.device, *, channels_last: bool) -> nn.Module:
    """The network with its initial weights, a function of the seed. Raises UserError if it cannot take the inputs."""
    network = resolve("model", conf.name)
    if (takes := _shape_taken(network, task)) is not None:
        fitting = [name for name in REGISTRY["model"] if _shape_taken(resolve("model", name), task) is None]
        another = f", as model={fitting[0]}" if fitting else ""
        raise UserError(
            f"model={conf.name} takes {takes}; task={_name(task)} gives {', '.join(task.shape)}: take another model"
            f"{another}"
        )
    task.check_network(conf.name, network)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, Purpose.WEIGHTS))
        # a file of first weights is for the start of a run: what restores one has its checkpoint
        model: nn.Module = call("model", conf.name, **task.shape, **keywords(conf) | no_file(conf))
    if task.derivatives and has_batch_norm(model):
        raise UserError(
            f"model={conf.name} has batch norm, by which an output depends on all inputs of the batch: the derivatives "
            f"by one input that task={_name(task)} takes are then others; take a network without"
        )
    model.to(device, task.setting.dtype)
    task.prepare(model)
    for tensor in (*model.parameters(), *model.buffers()) if channels_last else ():
        if tensor.ndim == 4:  # Module.to(memory_format=...) would refuse those of five dimensions, as Conv3d's
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    freeze(model, conf.freeze)
    return model


def check_batch(conf: TrainConf, model: nn.Module, task: Task, ranks: Ranks = SOLO) -> None:
    """Raise UserError if a rank's share of a batch is too small for batch norm."""
    parts = 1 if shared_by(conf, ranks.world) == "evaluations" else ranks.world
    if conf.batch_size // parts == 1 and has_batch_norm(model):
        raise UserError(
            f"batch_size={conf.batch_size} leaves one {task.noun} to a rank, and batch norm needs two: raise it"
        )


def no_file(conf: ModelConf) -> dict[str, Any]:
    """The keyword that leaves a file of weights alone: `initial` reads it, once, at the start of a run."""
    return {"weights": None} if hasattr(conf, "weights") else {}


def _shape_taken(network: Callable[..., Any], task: Task) -> str | None:
    """The keywords that a network cannot be built without, if it does not take those of the task's shape; else None."""
    parameters = inspect.signature(network).parameters
    free = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if free or set(task.shape) <= set(parameters):
        return None
    return ", ".join(key for key, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_POSITIONAL)


def _name(task: Task) -> str:
    """What `task=` calls it, or package.module:Name of the user's."""
    module, name = type(task).__module__, type(task).__qualname__
    known = {choice: path.partition(":") for choice, (path, _) in REGISTRY["task"].items()}
    own = (choice for choice, (room, _, kind) in known.items() if kind == name and f"{module}.".startswith(f"{room}."))
    return next(own, f"{module}:{name}")


def load_weights(model: nn.Module, state: dict[str, Any], directory: Path) -> None:
    """A checkpoint's weights and batch-norm statistics. Raises UserError if they are not this network's."""
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(
            f"the checkpoint in {directory} is not of this network ({reason}): has its code changed?"
        ) from None


def build_optimizer(conf: OptimizerConf, model: nn.Module, *, freezes: bool = False) -> Stepper:
    """The optimizer over the network's parameters, without those that `model.freeze` names.

    Raises UserError if it is neither a Relaxation nor LBFGS, and for groups that it or the network has not.
    """
    params: Any = model.parameters()
    if freezes or grouped_by(conf):
        params = parameter_groups(model, conf.groups)
    if not conf.decay_norms_and_biases:
        params = norms_and_biases_apart(params)
    optimizer = call("optimizer", conf.name, params, **keywords(conf))
    if not isinstance(optimizer, Relaxation | LBFGS):
        raise UserError(f"optimizer.name={conf.name} is not a deeprelax.optim.Relaxation: derive it from that class")
    for key in dict.fromkeys(key for group in conf.groups for key in group if key != "match"):
        if key not in optimizer.defaults:
            raise UserError(f"optimizer.groups: {conf.name} has no {key}: leave it out")
    if not conf.decay_norms_and_biases:
        forget_decay(optimizer)
    return optimizer
