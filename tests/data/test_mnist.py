"""Test MNIST and Fashion-MNIST: the real files, and the errors for wrong or missing ones."""

from __future__ import annotations

import urllib.error
from pathlib import Path

import pytest
import torch

from deeprelax.data.sources.mnist import load_fashion_mnist, load_mnist
from deeprelax.errors import UserError

from .fakes import write_mnist


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def test_the_real_files(mnist_folder: Path) -> None:
    mnist = load_mnist(mnist_folder)
    assert mnist.train.images.shape == (60_000, 1, 28, 28)
    assert mnist.test.images.shape == (10_000, 1, 28, 28)
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert torch.bincount(mnist.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.parametrize(("load", "name"), [(load_mnist, "MNIST"), (load_fashion_mnist, "FashionMNIST")])
def test_reads_files_in_the_published_format(
    load: type, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist(tmp_path, monkeypatch, name)
    data = load(tmp_path, 14)
    assert data.train.images.shape == (200, 1, 14, 14)
    assert data.test.labels.tolist() == list(range(10)) * 3


@pytest.mark.parametrize(("load", "name"), [(load_mnist, "MNIST"), (load_fashion_mnist, "FashionMNIST")])
def test_a_truncated_file_is_named(load: type, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path, monkeypatch, name)
    file = tmp_path / name / "raw" / "t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match=rf"{name}/raw/t10k-images-idx3-ubyte is not the published file .*: delete it"):
        load(tmp_path)


def test_a_changed_byte_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path, monkeypatch)
    file = tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    content = bytearray(file.read_bytes())
    content[50] ^= 4
    file.write_bytes(content)
    with pytest.raises(UserError, match="train-labels-idx1-ubyte is not the published file"):
        load_mnist(tmp_path)


@pytest.mark.usefixtures("no_network")
def test_no_network_is_one_sentence_and_nothing_half_written_stays(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        load_mnist(tmp_path)
    message = str(error.value)
    assert message.startswith(f"{tmp_path}/MNIST/raw/train-images-idx3-ubyte is missing and could not be downloaded (")
    assert "set data_dir to the folder that holds MNIST/raw" in message
    assert "\n" not in message
    assert [path.name for path in tmp_path.rglob("*")] == [".lock"]
