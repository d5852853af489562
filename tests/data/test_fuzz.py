"""Fuzz the data files of every format: corrupt ones are read or named in a UserError, and never run code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from deeprelax.data.images import ImageData
from deeprelax.data.sources.cifar import load_cifar10, load_cifar100
from deeprelax.data.sources.image_folder import load_image_folder
from deeprelax.data.sources.mnist import load_fashion_mnist, load_mnist
from deeprelax.errors import UserError

from .fakes import write_cifar, write_images, write_mnist

Damage = Callable[[bytes], bytes]


def flip(place: float, bit: int) -> Damage:
    def damage(content: bytes) -> bytes:
        at = int(place * len(content))
        return content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :] if content else b"\1"

    return damage


def cut(place: float) -> Damage:
    return lambda content: content[: int(place * len(content))]


def overwrite(place: float, other: bytes) -> Damage:
    return lambda content: content[: int(place * len(content))] + other


share = st.floats(0, 1, exclude_max=True)
damages = st.one_of(
    st.builds(flip, share, st.integers(0, 7)), st.builds(flip, st.floats(0, 0.02), st.integers(0, 7)),
    st.builds(cut, share), st.builds(overwrite, share, st.binary(max_size=40)),
)  # fmt: skip
many = settings(
    max_examples=125, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def try_corrupt(file: Path, damage: Damage, load: Callable[[], ImageData], *, checked: bool) -> None:
    """Load with a corrupt file, then restore it. With `checked`, files that differ must be refused by name."""
    original = file.read_bytes()
    content, refusal = damage(original), ""
    file.write_bytes(content)
    try:
        data = load()
    except UserError as error:
        refusal = str(error)
    finally:
        file.write_bytes(original)
    if refusal:
        assert content != original
        assert "\n" not in refusal
        assert str(file) in refusal or str(file.parent) in refusal
    else:
        assert content == original or not checked, "a corrupt file was not noticed"
        assert len(data.train.images) == len(data.train.labels) > 0


@pytest.mark.slow
@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"])
def test_idx(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path, monkeypatch)

    @many
    @given(damages)
    def check(damage: Damage) -> None:
        try_corrupt(tmp_path / "MNIST" / "raw" / file, damage, lambda: load_mnist(tmp_path), checked=True)

    check()


@pytest.mark.slow
@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
def test_idx_without_a_digest(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path, monkeypatch, "FashionMNIST")

    @many
    @given(damages)
    def check(damage: Damage) -> None:
        place = tmp_path / "FashionMNIST" / "raw" / file
        try_corrupt(place, damage, lambda: load_fashion_mnist(tmp_path), checked=False)

    check()


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "file"), [(10, "data_batch_3"), (10, "batches.meta"), (100, "train")])
def test_cifar_pickles(classes: int, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, monkeypatch, classes=classes)
    load = {10: load_cifar10, 100: load_cifar100}[classes]
    load(tmp_path)  # unpacks the archive
    folder = {10: "cifar-10-batches-py", 100: "cifar-100-python"}[classes]

    @many
    @given(damages)
    def check(damage: Damage) -> None:
        try_corrupt(tmp_path / folder / file, damage, lambda: load(tmp_path), checked=True)

    check()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # what it says of tags
@pytest.mark.parametrize(
    "file",
    ["train/ant/0.jpg", "train/bee/1.png", "test/cow/2.jpg", "train/ant/9.webp", "train/bee/9.tif", "test/cow/9.bmp"],
)
def test_images(file: str, tmp_path: Path) -> None:
    root = write_images(tmp_path / "mine", per_class=2)
    if file.partition("9")[1]:
        exif = Image.Exif()
        exif[0x0112] = 6  # turned
        how = {} if file.endswith("bmp") else {"exif": exif}
        Image.effect_noise((12, 12), 90).save(root / file, **how)

    @many
    @given(damages)
    def check(damage: Damage) -> None:
        try_corrupt(root / file, damage, lambda: load_image_folder(tmp_path, 16, path=str(root)), checked=False)

    check()


class Trap:
    """An object that creates a file when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return Path.touch, (Path("sprung"),)  # type: ignore[return-value]


def test_a_pickle_that_would_run_code_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, monkeypatch)
    load_cifar10(tmp_path)
    trap = pickle.dumps(Trap(), protocol=2)
    pickle.loads(trap)
    Path("sprung").unlink()  # it works
    file = tmp_path / "cifar-10-batches-py" / "data_batch_1"
    file.write_bytes(trap)
    with pytest.raises(UserError, match=r"data_batch_1 is not the published file"):
        load_cifar10(tmp_path)
    cache = tmp_path / "image_folder"
    root = write_images(tmp_path / "mine", per_class=2)
    load_image_folder(tmp_path, path=str(root))
    next(cache.glob("*.pt")).write_bytes(trap)
    assert len(load_image_folder(tmp_path, path=str(root)).train.images) == 6  # the cache is rebuilt
    assert not Path("sprung").exists()
