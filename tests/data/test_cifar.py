"""Test CIFAR through torchvision's own classes, on small archives in the published format."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deeprelax.data.sources.cifar import load_cifar10, load_cifar100
from deeprelax.errors import UserError

from .fakes import write_cifar

BOTH = pytest.mark.parametrize(("load", "classes"), [(load_cifar10, 10), (load_cifar100, 100)])


@BOTH
def test_reads_the_archive(load: type, classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, monkeypatch, classes)
    data = load(tmp_path)
    train = {10: 100, 100: 200}[classes]
    assert data.train.images.shape == (train, 3, 32, 32)
    assert data.train.images.dtype == torch.uint8
    assert len(data.classes) == classes
    assert data.classes[3] == "class 3"
    assert data.train.labels[:3].tolist() == [0, 1, 2]
    again = load(tmp_path)
    assert torch.equal(data.train.images, again.train.images)


def test_pixels_are_red_green_blue_planes_in_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, monkeypatch)
    data = load_cifar10(tmp_path)
    import pickle

    with (tmp_path / "cifar-10-batches-py" / "data_batch_1").open("rb") as file:
        row = pickle.load(file)["data"][0]
    assert data.train.images[0].flatten().tolist() == row.tolist()


@BOTH
def test_a_corrupt_archive_is_named_and_nothing_is_left(
    load: type, classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_cifar(tmp_path, monkeypatch, classes)
    archive.write_bytes(archive.read_bytes()[:-50])
    with pytest.raises(UserError, match=rf"{archive.name} is not the published file .*: delete it and start again"):
        load(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {archive.name, ".lock"}


def test_a_corrupt_file_is_found_before_it_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, monkeypatch)
    load_cifar10(tmp_path)
    file = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    # a pickle that would run code
    file.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    with pytest.raises(UserError, match=r"data_batch_3 is not the published file \(missing or corrupt\): delete"):
        load_cifar10(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(UserError, match=r"cifar-10-batches-py is missing and could not be downloaded \(Network is"):
        load_cifar10(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
