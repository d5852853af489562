"""What `tests.gpu.check` asks of a GPU about times, in parts as those of `parts.py`."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from deeprelax.bench.steps import Bare, stepping
from deeprelax.configuration.registry import REGISTRY

from .findings import attempt, run, say
from .parts import DEVICE, GPU, NETWORKS, optimizers, parts_of_a_run, wait


def waits() -> None:
    """Microseconds and launches of a gradient of LeNet in a run, with its batch. A step that makes the host wait fails.

    host: until the last launch is given, wall: until it has ended. Equal, the launches are the limit; else the GPU is.
    """
    for name, build in optimizers().items():
        if name not in REGISTRY["optimizer"]:
            continue  # a variant
        for replayed in (False, True) if GPU else (False,):
            with attempt(f"waits {name} graphs={replayed}"):
                optimizer, objective, _ = parts_of_a_run("lenet", build, graphs=replayed, augment="none")
                step = stepping(optimizer, objective, objective, replayed)
                for _ in range(6):
                    step()
                steps = (200 if GPU else 5) // optimizer.evaluations + 1
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
                _, objective, _ = parts_of_a_run(network, optimizers()["sgd"], graphs=False, precision=precision)
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
                with tempfile.TemporaryDirectory() as place:
                    more = f"hardware.cuda_graphs={replayed}", f"epochs={epochs}", f"output_dir={place}"
                    run("deeprelax", *words, *more)
                    results.append(json.loads(next(Path(place).rglob("result.json")).read_text()))
            short, long = results
            seconds, evaluations = (long[key] - short[key] for key in ("seconds", "gradient_evaluations"))
            first = short["seconds"] - seconds / evaluations * short["gradient_evaluations"]
            say(f"whole graphs={replayed}", ms=1e3 * seconds / evaluations, start_seconds=first)


def bench_lenet() -> None:
    words = ["model=lenet", "dataset=mnist", f"hardware.cuda_graphs={GPU}", "evaluations=200", "whole_run=5"]
    bench("lenet", words if GPU else ["model=mlp", "model.hidden=16", "whole_run=null", "batch_size=16"])


def bench_wrn() -> None:
    only = "only=[sgd,entropy_sgd_noise,heat,adamw,entropy_sgd_adamw]"
    words = [
        "model=wrn_16_4",
        "dataset=cifar10",
        "hardware.precision=bfloat16",
        f"hardware.cuda_graphs={GPU}",
        "evaluations=60",
        "whole_run=null",
        only,
    ]
    bench("wrn", words if GPU else ["model=lenet", "whole_run=null", "batch_size=16", "only=[sgd]"])


def bench(name: str, words: list[str]) -> None:
    """`deeprelax bench`, whose ratios become findings."""
    with attempt(f"bench {name}"), tempfile.TemporaryDirectory() as place:
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
        found = json.loads(Path(place, "bench", "bench.json").read_text())
        say(f"bench {name}", **{key: value for key, value in found.items() if key != "setting"})
