"""MNIST: the real files, and what is said when they are not right."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from deeprelax.data.mnist import FILES, load_mnist
from deeprelax.errors import UserError


def test_the_real_files(mnist_folder: Path) -> None:
    mnist = load_mnist(mnist_folder)
    assert mnist.train.images.shape == (60_000, 1, 28, 28)
    assert mnist.test.images.shape == (10_000, 1, 28, 28)
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert torch.bincount(mnist.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_a_truncated_file_is_named(mnist_folder: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        shutil.copy(mnist_folder / "MNIST" / "raw" / name, raw)
        (raw / name).chmod(0o644)
    with (raw / "t10k-images-idx3-ubyte").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(
        UserError, match=r"t10k-images-idx3-ubyte is not MNIST's file \(truncated or damaged\): delete it"
    ):
        load_mnist(tmp_path)


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(
        UserError, match=r"(?s)train-images-idx3-ubyte is missing and could not be downloaded .*data_dir"
    ):
        load_mnist(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".deeprelax.lock"]
