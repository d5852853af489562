"""Write small data sets in the published formats, and patch the checksums that torchvision expects of them."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

import deeprelax.data.sources.mnist


def write_mnist(root: Path, monkeypatch: pytest.MonkeyPatch, name: str = "MNIST", per_class: int = 20) -> None:
    """Write IDX files with random images, and patch their sizes and digests into `deeprelax.data.sources.mnist`."""
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    rng, files = np.random.default_rng(0), []
    for split, count in [("train", 10 * per_class), ("t10k", 30)]:
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        contents = {
            f"{split}-images-idx3-ubyte": struct.pack(">4i", 2051, count, 28, 28) + images.tobytes(),
            f"{split}-labels-idx1-ubyte": struct.pack(">2i", 2049, count) + labels.tobytes(),
        }
        for file, content in contents.items():
            (raw / file).write_bytes(content)
            files.append((file, len(content), hashlib.sha256(content).hexdigest()))
    monkeypatch.setattr(deeprelax.data.sources.mnist, "FILES", tuple(files))


def write_cifar(root: Path, monkeypatch: pytest.MonkeyPatch, classes: int = 10, per_file: int = 20) -> Path:
    """Write the archive of CIFAR-10 or CIFAR-100 with a few random images, and patch its checksums. Returns it."""
    source = {10: torchvision.datasets.CIFAR10, 100: torchvision.datasets.CIFAR100}[classes]
    key = "labels" if classes == 10 else "fine_labels"
    rng, members = np.random.default_rng(1), {}
    for number, (name, _) in enumerate([*source.train_list, *source.test_list]):
        count = per_file if classes == 10 else 10 * per_file
        batch = {
            b"batch_label".decode(): name,
            key: [(i + number) % classes for i in range(count)],
            "data": rng.integers(0, 256, (count, 3072), dtype=np.uint8),
        }
        members[name] = pickle.dumps(batch, protocol=2)
    names = {10: "label_names", 100: "fine_label_names"}[classes]
    members[source.meta["filename"]] = pickle.dumps({names: [f"class {i}" for i in range(classes)]}, protocol=2)
    archive = root / source.filename
    root.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"{source.base_folder}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))

    def md5(content: bytes) -> str:
        return hashlib.md5(content, usedforsecurity=False).hexdigest()

    monkeypatch.setattr(source, "tgz_md5", md5(archive.read_bytes()))
    for attribute in ("train_list", "test_list"):
        monkeypatch.setattr(source, attribute, [[name, md5(members[name])] for name, _ in getattr(source, attribute)])
    meta = source.meta["filename"]
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": md5(members[meta])})
    return archive


def write_images(root: Path, size: tuple[int, int] = (12, 12), mode: str = "RGB", per_class: int = 6) -> Path:
    """Write train/ and test/ with three classes of random images, PNG and JPEG in turn. Returns root."""
    rng = np.random.default_rng(2)
    for split, count in [("train", per_class), ("test", 3)]:
        for name in ("ant", "bee", "cow"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).convert(mode).save(folder / f"{i}.{'png' if i % 2 else 'jpg'}")
    return root
