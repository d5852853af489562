"""What one call on a machine with one GPU finds out, in about six minutes: `make check-gpu`.

    python -m tests.gpu.check [PART ...]

Every part is a process of its own with a time limit; one that fails prints a line that begins with FAILED, and the
others go on. Those that compare numbers run side by side, those that measure times afterwards, alone. Each line is
printed at once, and all of them are in $OUT/check-gpu.json (without OUT in the working folder). Exit status 1 if
anything failed. On a CPU it runs too, with small sizes and without graphs.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from deeprelax.bench.images import random_images
from deeprelax.bench.steps import Bare, stepping
from deeprelax.configuration.registry import call
from deeprelax.data.batches import Data, Images
from deeprelax.data.normalize import fit
from deeprelax.models import LeNet, WideResNet
from deeprelax.optim import Relaxation
from deeprelax.runs.determinism import deterministic
from deeprelax.tasks.classification import Classification
from deeprelax.tasks.task import Setting
from deeprelax.training.objective import Autocast, Loss, Objective

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


def say(what: str, **numbers: Any) -> None:
    """One finding, as a line on standard output that the parent keeps."""
    print(json.dumps({"what": what, **numbers}), flush=True)


@contextlib.contextmanager
def attempt(what: str) -> Iterator[None]:
    """An error within it is a finding."""
    try:
        yield
    except Exception as error:
        print("FAILED " + json.dumps({"what": what, "error": f"{type(error).__name__}: {error}"[:600]}), flush=True)


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
    task = Classification(Setting(DEVICE, 0, batch, load_data=lambda: (data, augment)))
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


# How they are run -----------------------------------------------------------------------------------------------------


def folder() -> Path:
    return Path(os.environ.get("OUT", "outputs/gpu"))


def run(module: str, *words: str) -> str:
    """`python -m MODULE WORDS`; the last line that it prints. Raises AssertionError with the last lines if it fails."""
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()] or [""]
    assert done.returncode == 0, f"status {done.returncode}: " + " | ".join(lines[-12:])
    return lines[-1]


NUMBERS = {graphs: 170, two_ranks: 150, marked: 170}  # part to its limit in seconds
TIMES = {waits: 60, passes: 40, whole: 120, bench_lenet: 140, bench_wrn: 100}
PARTS = {part.__name__: part for part in (*NUMBERS, *TIMES)}


def part(name: str, limit: float, began: float) -> list[str]:
    """Run a part in a process of its own, its lines printed as they come."""
    found = []
    command = [sys.executable, "-m", "tests.gpu.check", "--here", name]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process,
        ThreadPoolExecutor(1) as timer,
    ):
        ended = timer.submit(_end_in_time, process, limit)
        assert process.stdout is not None
        rest = []
        for line in process.stdout:
            if line.startswith(("{", "FAILED ")):
                found.append(line.strip())
                _print(began, line.strip())
            else:
                rest.append(line.strip())
        if problem := ended.result():
            found.append("FAILED " + json.dumps({"what": name, "error": problem, "says": rest[-8:]}))
            _print(began, found[-1])
    return found


def _print(began: float, line: str) -> None:
    print(line if line.startswith("FAILED") else f"{time.perf_counter() - began:4.0f} s  {line}", flush=True)


def _end_in_time(process: subprocess.Popen[str], limit: float) -> str:
    try:
        status = process.wait(limit)
    except subprocess.TimeoutExpired:
        process.kill()
        return f"took more than {limit:.0f} s"
    return f"status {status}" if status else ""


def main(names: list[str]) -> int:
    """Run these parts, or all."""
    began, found = time.perf_counter(), list[str]()
    folder().mkdir(parents=True, exist_ok=True)
    wanted = names or list(PARTS)
    _print(began, json.dumps({"what": "torch", "torch": torch.__version__, "device": _device()}))
    beside = {p.__name__: limit for p, limit in NUMBERS.items() if p.__name__ in wanted}
    alone = {p.__name__: limit for p, limit in TIMES.items() if p.__name__ in wanted}
    with ThreadPoolExecutor(len(beside) or 1) as pool:
        for lines in pool.map(lambda item: part(*item, began), beside.items()):
            found += lines
    for name, limit in alone.items():
        found += part(name, limit, began)
    failed = [line for line in found if line.startswith("FAILED ")]
    content = [json.loads(line.removeprefix("FAILED ")) | {"failed": line in failed} for line in found]
    (folder() / "check-gpu.json").write_text(json.dumps(content, indent=1))
    print(f"{len(found) - len(failed)} findings, {len(failed)} failed, {time.perf_counter() - began:.0f} s")
    return 1 if failed else 0


def _device() -> str:
    return torch.cuda.get_device_name(0) if GPU else "CPU"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        PARTS[sys.argv[2]]()
        sys.exit(0)
    sys.exit(main(sys.argv[1:]))
