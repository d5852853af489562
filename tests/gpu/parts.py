"""What `tests.gpu.check` asks of a GPU: numbers, and times.

A part prints each finding as a line of JSON; one that fails begins with FAILED.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from deeprelax.bench.images import random_images
from deeprelax.bench.steps import Bare, stepping
from deeprelax.configuration.registry import call
from deeprelax.data.augment import augmentation
from deeprelax.data.batches import Data, Images
from deeprelax.data.normalize import fit
from deeprelax.models import LeNet, WideResNet
from deeprelax.optim import Relaxation
from deeprelax.runs.determinism import deterministic
from deeprelax.tasks.classification import Classification
from deeprelax.tasks.task import Setting
from deeprelax.training.objective import Autocast, Loss, Objective

from .findings import attempt, folder, run, say

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda", 0) if GPU else torch.device("cpu")
NETWORKS = [("lenet", "float32"), *([("wrn", "bfloat16")] if GPU else [])]  # a CPU is slow in bfloat16
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd"},
    "adamw": {"name": "adamw"},
    "entropy_sgd": {"name": "entropy_sgd", "inner_steps": 5, "temperature": 1e-6},
    "entropy_sgd_scoped": {"name": "entropy_sgd", "inner_steps": 5, "scoping": 0.01},
    "entropy_sgd_adamw": {"name": "entropy_sgd", "inner_steps": 5, "outer": "adamw", "inner": "adamw"},
    "hj": {"name": "hj", "inner_steps": 5},
    "hj_proximal": {"name": "hj_proximal", "inner_steps": 5},
    "heat": {"name": "heat"},
    "heat_adamw": {"name": "heat", "samples": 2, "outer": "adamw"},
    "pde_relaxed": {"name": "pde_relaxed"},
}


# What the parts work with ---------------------------------------------------------------------------------------------


def parts_of_a_run(
    network: str, name: str, *, graphs: bool, precision: str = "float32", augment: str = "flip_crop"
) -> tuple[Relaxation, Objective, torch.nn.Module]:
    """An optimizer, its closure and the network, as a run has them, on random images of MNIST's or CIFAR's shape."""
    channels, size = (1, 28) if network == "lenet" else (3, 32)
    found = random_images(Path(), channels=channels, image_size=size, classes=10, train=2000, test=10)
    images = Images(found.train, fit("mean_std", found.train.images), DEVICE)
    data = Data(images, images, None, channels, size, found.classes)
    batch = 128 if GPU else 16
    task = Classification(Setting(DEVICE, 0, batch, load_data=lambda: (data, augmentation(augment, size))))
    torch.manual_seed(0)
    keywords = {} if network == "lenet" else {"depth": 16, "width": 4 if GPU else 1, "dropout": 0.3}
    model = (LeNet if network == "lenet" else WideResNet)(channels=channels, image_size=size, classes=10, **keywords)
    model = model.to(DEVICE, memory_format=torch.channels_last).train()
    keywords = {key: value for key, value in OPTIMIZERS[name].items() if key != "name"}
    optimizer = call("optimizer", OPTIMIZERS[name]["name"], model.parameters(), **keywords)
    objective = Objective(Loss(task, model, Autocast(precision, DEVICE)), task, graphs=graphs)
    return optimizer, objective, model


def wait() -> None:
    if GPU:
        torch.cuda.synchronize()


# Numbers --------------------------------------------------------------------------------------------------------------


def graphs() -> None:
    """Are replays the steps, bit for bit, with dropout, batch norm, crops and noise? far: the largest difference."""
    for name in OPTIMIZERS:
        for network, precision in NETWORKS:
            with attempt(f"graphs {name} {network}"):
                ends = []
                for replayed in (False, GPU):
                    with deterministic(True):
                        optimizer, objective, model = parts_of_a_run(
                            network, name, graphs=replayed, precision=precision
                        )
                        step = stepping(optimizer, objective, objective, replayed)
                        losses = [step().clone() for _ in range(6)]
                    ends.append([*losses, *model.state_dict().values()])
                far = max((a.double() - b.double()).abs().max().item() for a, b in zip(*ends, strict=True))
                assert far == 0, f"replays are {far:.2g} away from calls"
                say(f"graphs {name} {network} {precision}", far=far)


def two_ranks() -> None:
    """Two ranks on one GPU over gloo, which takes CUDA tensors: everything of several ranks but NCCL itself."""
    for share in ("data", "chains"):
        with attempt(f"two ranks share={share}"):
            words = ["train", f"hardware.device={DEVICE.type}", "hardware.devices=2", f"hardware.share={share}"]
            again = ["epochs=5", "force=true"]
            began = time.perf_counter()
            last = run("tests.gpu.two_on_one", *words, *again, f"output_dir={folder() / 'ranks'}-{share}")
            say(f"two ranks share={share}", seconds=time.perf_counter() - began, says=last)


def marked() -> None:
    """The tests that need a GPU."""
    with attempt("pytest -m gpu"):
        say("pytest -m gpu", says=run("pytest", "-q", "-m", "gpu", "-n", "4", "-W", "default", "tests"))


# Times ----------------------------------------------------------------------------------------------------------------


def waits() -> None:
    """Microseconds and launches of a gradient of LeNet in a run, with its batch. A step that makes the host wait fails.

    host: until the last launch is given, wall: until it has ended. Equal, the launches are the limit; else the GPU is.
    """
    for name in OPTIMIZERS:
        for replayed in (False, True) if GPU else (False,):
            with attempt(f"waits {name} graphs={replayed}"):
                optimizer, objective, _ = parts_of_a_run("lenet", name, graphs=replayed, augment="none")
                step = stepping(optimizer, objective, objective, replayed)
                for _ in range(6):
                    step()
                steps = (400 if GPU else 5) // optimizer.evaluations + 1
                wait()
                began = time.perf_counter()
                with no_waiting():
                    for _ in range(steps):
                        step()
                host = time.perf_counter() - began
                wait()
                wall = time.perf_counter() - began
                each = 1e6 / (steps * optimizer.evaluations)
                launches = counted(step) / optimizer.evaluations
                say(f"waits {name} graphs={replayed}", host_us=host * each, wall_us=wall * each, launches=launches)


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    """Within it torch raises where the host would wait for the GPU."""
    if not GPU:
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def counted(work: Callable[[], object]) -> float:
    """How often the host launches something: kernels, copies and graphs."""
    with torch.profiler.profile() as profile:
        work()
        wait()
    return sum(e.count for e in profile.key_averages() if e.key.startswith("cuda") and "aunch" in e.key)


def passes() -> None:
    """Microseconds of bare passes, replayed and not: what no optimizer can be faster than."""
    for network, precision in NETWORKS:
        for replayed in (False, True) if GPU else (False,):
            with attempt(f"passes {network} graphs={replayed}"):
                _, objective, _ = parts_of_a_run(network, "sgd", graphs=False, precision=precision)
                bare = Bare(objective.loss, objective.task, 200 if GPU else 2, graphs=replayed)
                bare()
                bare()
                wait()
                began = time.perf_counter()
                bare()
                wait()
                taken = (time.perf_counter() - began) / bare.times
                say(f"passes {network} {precision} graphs={replayed}", us=1e6 * taken)


def whole() -> None:
    """Milliseconds of a gradient in whole runs of LeNet, evaluations and records included: what 20 passes more take."""
    images = {
        "channels": 1,
        "image_size": 28,
        "classes": 10,
        "train": 60000 if GPU else 600,
        "test": 10000 if GPU else 50,
    }
    words = [
        "train", "dataset=mnist", "model=lenet", "optimizer=entropy_sgd", f"hardware.device={DEVICE.type}",
        "dataset.name=deeprelax.bench.images:random_images", "dataset.image_size=null", "dataset.train_size=null",
        *(f"dataset.options.{key}={value}" for key, value in images.items()), "train.checkpoint_every=20", "force=true",
    ]  # fmt: skip
    for replayed in (False, True) if GPU else (False,):
        with attempt(f"whole graphs={replayed}"):
            results = []
            for epochs in (5, 25):
                place = folder() / f"whole-{replayed}-{epochs}"
                run("deeprelax", *words, f"hardware.cuda_graphs={replayed}", f"epochs={epochs}", f"output_dir={place}")
                results.append(json.loads(next(place.rglob("result.json")).read_text()))
            short, long = results
            seconds, evaluations = (long[key] - short[key] for key in ("seconds", "gradient_evaluations"))
            first = short["seconds"] - seconds / evaluations * short["gradient_evaluations"]
            say(f"whole graphs={replayed}", ms=1e3 * seconds / evaluations, start_seconds=first)


def bench_lenet() -> None:
    words = ["model=lenet", "dataset=mnist", f"hardware.cuda_graphs={GPU}", "evaluations=400", "whole_run=5"]
    bench("lenet", words if GPU else ["model=mlp", "model.hidden=16", "whole_run=null", "batch_size=16"])


def bench_wrn() -> None:
    only = "only=[sgd,entropy_sgd_noise,heat,adamw,entropy_sgd_adamw]"
    words = [
        "model=wrn_16_4",
        "dataset=cifar10",
        "hardware.precision=bfloat16",
        "evaluations=60",
        "whole_run=null",
        only,
    ]
    bench("wrn", words if GPU else ["model=lenet", "whole_run=null", "batch_size=16", "only=[sgd]"])


def bench(name: str, words: list[str]) -> None:
    """`deeprelax bench`, whose ratios become findings."""
    with attempt(f"bench {name}"):
        place = folder() / f"bench-{name}"
        small = [] if GPU else ["repeats=1", "evaluations=2", "dataset.train_size=300"]
        run(
            "deeprelax",
            "bench",
            f"hardware.device={DEVICE.type}",
            "yardsticks=false",
            f"output_dir={place}",
            *words,
            *small,
        )
        found = json.loads((place / "bench" / "bench.json").read_text())
        say(f"bench {name}", **{key: value for key, value in found.items() if key != "setting"})
