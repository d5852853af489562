"""Has a change of the code moved a number? `python tests/same_numbers.py COMMIT` compares that commit with this tree.

Both trees train every optimizer for a few steps on one thread: LeNet on the digits (dropout, batch norm), and All-CNN
(batch norm, dropout, augmentation). Weights, metrics.jsonl and result.json must be equal bit for bit, but for times.
The configurations of every experiment with every optimizer are compared key by key, but for the keys in
same_numbers.json, and so are the printed numbers of `deeprelax pde verify`. Prints a line for each comparison and ends
with status 1 if anything differs.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parents[1]
KEYS = Path(__file__).with_suffix(".json")
COMMON = [
    "train", "-m", "hardware.device=cpu", "hardware.threads=1", "seed=3",
    "optimizer.momentum=0.5", "optimizer.weight_decay=1e-4", "train.bn_batches=2", "train.record_every=0.5",
    "train.evaluate_every=1", "dataset.validation=50",
]  # fmt: skip
RUNS = {
    "lenet": [*COMMON, "dataset.train_size=400", "batch_size=16", "epochs=2"],
    "all_cnn": [*COMMON, "model=all_cnn", "dataset.image_size=28", "dataset.train_size=160", "batch_size=8",
                "epochs=2", "dataset.augment=flip_crop", "schedule=step", "schedule.milestones=[1]"],
}  # fmt: skip
# what runs have had since commits that this tree may be compared with: it moves no number that was there
LATER = {"test_balanced_error", "test_class_errors", "test_confusion", "notes", "test_images", "validation_images",
         "traffic_bytes"}  # fmt: skip
WITHOUT = {
    "adamw": ("optimizer.momentum",), "sgld": ("optimizer.momentum",),
    "lbfgs": ("optimizer.momentum", "optimizer.weight_decay"),
}  # fmt: skip  # keys
VERIFY = ["pde", "verify", "paths=2000", "chains=200"]
# one process composes all configurations: the command line and its output are what stays the same between commits
COMPOSE = """
import contextlib, io, json, sys
from deeprelax.cli import main
composed = {}
for arguments in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        status = main(["train", *arguments, "--cfg", "job"])
    composed[" ".join(arguments)] = out.getvalue() if status == 0 else None
json.dump(composed, sys.stdout)
"""


class Tree:
    """A checkout, and a folder for what it computes."""

    def __init__(self, code: Path, folder: Path) -> None:
        self.code, self.folder = code, folder
        folder.mkdir()

    def python(self, *arguments: str, given: str = "") -> str:
        """Run Python on this tree's package; its output."""
        environment = {**os.environ, "PYTHONPATH": str(self.code), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env=environment, input=given, capture_output=True, text=True
        )
        if done.returncode and "verify" not in arguments:  # with so few samples a claim may fail
            raise SystemExit(f"{self.code}: {' '.join(arguments)} ended with {done.returncode}\n{done.stderr}")
        return done.stdout

    def train(self, name: str, optimizers: Sequence[str]) -> dict[str, Any]:
        """What the sweep of this name leaves: "optimizer file" to its content without times."""
        others = [each for each in optimizers if each not in WITHOUT]
        self.python("-m", "deeprelax", *RUNS[name], f"optimizer={','.join(others)}", f"output_dir={name}")
        for optimizer, absent in WITHOUT.items():
            if optimizer in optimizers:
                words = [word for word in RUNS[name] if not word.startswith(absent)]
                self.python("-m", "deeprelax", *words, f"optimizer={optimizer}", f"output_dir={name}")
        found: dict[str, Any] = {}
        for file in (self.folder / name).rglob("result.json"):
            result = json.loads(file.read_text())
            optimizer = result["optimizer"]
            text = (file.parent / "metrics.jsonl").read_text()
            lines = [line for line in text.splitlines() if '"training"' not in line]
            state = torch.load(file.parent / "checkpoint.pt", weights_only=True)
            found[f"{optimizer} weights"] = {key: value.numpy().tobytes() for key, value in state["model"].items()}
            found[f"{optimizer} metrics.jsonl"] = [_rounded(_without_times(json.loads(line))) for line in lines]
            found[f"{optimizer} result.json"] = _without_times(result)
        return found

    def configurations(self, choices: list[list[str]]) -> dict[str, dict[str, Any] | None]:
        """The flat configuration of each list of overrides; None where it does not compose."""
        composed = json.loads(self.python("-c", COMPOSE, given=json.dumps(choices)))
        return {name: text if text is None else _flat(text) for name, text in composed.items()}

    def verify(self) -> dict[str, Any]:
        """The numbers of `pde verify` as printed: scipy's expm_multiply draws from a generator of its own."""
        self.python("-m", "deeprelax", *VERIFY)
        (file,) = (self.folder / "outputs").rglob("verify.json")
        return {
            f"{i} {c['claim']}": [float(f"{c[key] or 0:.4g}") for key in ("measured", "lower", "upper")]
            for i, c in enumerate(json.loads(file.read_text())["claims"])
        }

    def offers(self, group: str) -> set[str]:
        """The choices of a group that need no class of the user's."""
        return {file.stem for file in (self.code / "configs" / group).glob("*.yaml")} - {"custom"}


def _without_times(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if "second" not in key and key not in LATER}


def _rounded(record: dict[str, Any]) -> dict[str, Any]:
    """The rate to 15 digits: pde_relaxed divides it by gamma at each step, where it once did so before the schedule."""
    return {key: float(f"{value:.15g}") if key == "lr" else value for key, value in record.items()}


def _flat(text: str) -> dict[str, Any]:
    def walk(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in node.items():
            if isinstance(value, dict) and value:
                yield from walk(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    return dict(walk(OmegaConf.to_container(OmegaConf.create(text)), ""))


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The keys that are not the same on both sides."""
    return [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]


def compare_configurations(before: Tree, now: Tree) -> tuple[list[str], list[str]]:
    """What differs, and the keys that went or came as same_numbers.json says."""
    known: dict[str, dict[str, str]] = json.loads(KEYS.read_text())
    experiments, optimizers = (
        sorted(before.offers(group) & now.offers(group)) for group in ("experiment", "optimizer")
    )
    choices = [[f"experiment={e}", f"optimizer={o}"] for e in experiments for o in optimizers]
    choices += [[f"optimizer={o}"] for o in optimizers]
    choices += [[f"model={file.stem}"] for file in sorted((before.code / "configs" / "model").glob("*.yaml"))]
    choices += [[f"dataset={file.stem}"] for file in sorted((before.code / "configs" / "dataset").glob("*.yaml"))]
    wrong, moved = [], set()
    there, here = before.configurations(choices), now.configurations(choices)
    for name, old in there.items():
        new = here[name]
        if old is None or new is None:
            wrong += [f"{name}: does not compose"] * (old is not new)
            continue
        optimizer = str(old["optimizer.name"])
        for key in differences(old, new):
            kind = "gone" if key not in new else "come" if key not in old else "changed"
            names = (key, f"{optimizer}: {key}")  # for every optimizer, or for this one
            if kind != "changed" and any(each in known[kind] for each in names):
                moved.add(f"{kind}: {names[1]}")
            else:
                wrong.append(f"{name}: {key} {kind}, {old.get(key)!r} before and {new.get(key)!r} now")
    return wrong, sorted(moved)


def checkout(commit: str, folder: Path) -> Path:
    """The files of the commit, in a folder."""
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", commit], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", help="what to compare this tree with")
    commit = parser.parse_args().commit
    failed = False
    with tempfile.TemporaryDirectory() as temporary, concurrent.futures.ThreadPoolExecutor(2) as pool:
        folder = Path(temporary)
        trees = Tree(checkout(commit, folder / "before"), folder / "one"), Tree(ROOT, folder / "other")
        both = sorted(trees[0].offers("optimizer") & trees[1].offers("optimizer"))
        for what in (*RUNS, "pde verify"):
            old, new = pool.map(
                lambda tree, what=what: tree.train(what, both) if what in RUNS else tree.verify(), trees
            )
            wrong = differences(old, new)
            failed |= bool(wrong) or not old
            print(f"{what}: {len(old)} parts, {'equal' if old and not wrong else f'NOT equal: {wrong}'}", flush=True)
        wrong, moved = compare_configurations(*trees)
        failed |= bool(wrong)
        print("\n".join(f"  {line}" for line in moved) or "  no key went or came")
        print("configurations:", "equal" if not wrong else "NOT equal:\n  " + "\n  ".join(wrong))
    print("NOT equal" if failed else "equal")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
