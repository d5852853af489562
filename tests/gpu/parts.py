"""What `tests.gpu.check` asks of a GPU about numbers, and what all its parts work with; `times.py` has the others.

A part prints each finding as a line of JSON; one that fails begins with FAILED.
"""

from __future__ import annotations

import functools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from deeprelax.bench.images import random_images
from deeprelax.bench.steps import stepping
from deeprelax.configuration.registry import REGISTRY, call
from deeprelax.data.augment import augmentation
from deeprelax.data.batches import Data, Images
from deeprelax.data.normalize import fit
from deeprelax.models import LeNet, WideResNet
from deeprelax.optim import Relaxation
from deeprelax.runs.determinism import deterministic
from deeprelax.tasks.classification import Classification
from deeprelax.tasks.task import Setting
from deeprelax.training.objective import Autocast, Loss, Objective
from tests.optimizers import OPTIMIZERS

from .findings import attempt, run, say

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda", 0) if GPU else torch.device("cpu")
NETWORKS = [("lenet", "float32"), *([("wrn", "bfloat16")] if GPU else [])]  # a CPU is slow in bfloat16


# What the parts work with ---------------------------------------------------------------------------------------------


def optimizers() -> dict[str, Callable[..., Relaxation]]:
    """How to build every row of the table of optimizers, and every choice that has none; not what no graph replays."""
    rows = {name: case.build for name, case in OPTIMIZERS.items()}
    more = {name: functools.partial(call, "optimizer", name) for name in REGISTRY["optimizer"] if name not in rows}
    probe = [torch.nn.Parameter(torch.zeros(2))]
    return rows | {name: build for name, build in more.items() if isinstance(build(probe), Relaxation)}


def parts_of_a_run(
    network: str, build: Callable[..., Relaxation], *, graphs: bool, precision: str = "float32",
    augment: str = "flip_crop", compiled: bool = False,
) -> tuple[Relaxation, Objective, torch.nn.Module]:  # fmt: skip
    """An optimizer, its closure and the network, as a run has them, on random images of MNIST's or CIFAR's shape."""
    channels, size = (1, 28) if network == "lenet" else (3, 32)
    found = random_images(Path(), channels=channels, image_size=size, classes=10, train=2000, test=10)
    images = Images(found.train, fit("mean_std", found.train.images), DEVICE)
    data = Data(images, images, None, channels, size, found.classes)
    batch = 128 if GPU else 16
    half = precision == "bfloat16"
    task = Classification(
        Setting(DEVICE, 0, batch, load_data=lambda: (data, augmentation(augment, size)), bfloat16=half)
    )
    torch.manual_seed(0)
    keywords = {} if network == "lenet" else {"depth": 16, "width": 4 if GPU else 1, "dropout": 0.3}
    model = (LeNet if network == "lenet" else WideResNet)(channels=channels, image_size=size, classes=10, **keywords)
    model = model.to(DEVICE, memory_format=torch.channels_last).train()
    loss: torch.nn.Module = Loss(task, model, Autocast(precision, DEVICE))
    if compiled:
        loss = torch.compile(loss)  # type: ignore[assignment]
    return build(model.parameters()), Objective(loss, task, graphs=graphs), model


def wait() -> None:
    if GPU:
        torch.cuda.synchronize()


# Numbers --------------------------------------------------------------------------------------------------------------


def graphs() -> None:
    """Are replays the steps, bit for bit, with dropout, batch norm, crops and noise, of every optimizer?"""
    for name, build in optimizers().items():
        for network, precision in NETWORKS:
            compare_replays(f"graphs {name} {network} {precision}", network, build, precision=precision)


def compiled() -> None:
    """The same with compiled passes. Without a GPU there is nothing to replay."""
    if GPU:
        compare_replays("compiled sgd lenet float32", "lenet", optimizers()["sgd"], compiled=True)
    else:
        say("compiled", left_out="no GPU")


def compare_replays(what: str, network: str, build: Callable[..., Relaxation], **keywords: Any) -> None:
    """Six steps, called and replayed. far: the largest difference of losses, weights and statistics."""
    with attempt(what):
        ends = []
        for replayed in (False, GPU):
            with deterministic(True):
                optimizer, objective, model = parts_of_a_run(network, build, graphs=replayed, **keywords)
                step = stepping(optimizer, objective, objective, replayed)
                losses = [step().clone() for _ in range(6)]
            ends.append([*losses, *model.state_dict().values()])
        pairs = [(a.double(), b.double()) for a, b in zip(*ends, strict=True)]
        far = max((a - b).abs().max().item() for a, b in pairs)
        assert far == 0, f"replays are {far:.2g} away from calls"
        say(what, far=far)


def two_ranks() -> None:
    """Two ranks on one GPU over gloo, which takes CUDA tensors: everything of several ranks but NCCL itself."""
    for share in ("data", "chains"):
        with attempt(f"two ranks share={share}"):
            words = ["train", f"hardware.device={DEVICE.type}", "hardware.devices=2", f"hardware.share={share}"]
            again = [f"epochs={5 if GPU else 2}", "force=true"]
            began = time.perf_counter()
            with tempfile.TemporaryDirectory() as place, tempfile.NamedTemporaryFile("r") as joined:
                os.environ["JOINED"] = joined.name
                last = run("tests.gpu.two_on_one", *words, *again, f"output_dir={place}")
                assert joined.read() == "gloo 2", "the ranks did not meet over gloo"
            say(f"two ranks share={share}", seconds=time.perf_counter() - began, says=last)


def marked() -> None:
    """The tests that need a GPU."""
    if not GPU:
        say("pytest -m gpu", left_out="no GPU")
        return
    with attempt("pytest -m gpu"):
        say("pytest -m gpu", says=run("pytest", "-q", "-m", "gpu", "-n", "4", "-W", "default", "tests"))
