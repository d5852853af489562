"""Test data sets of a user's own images."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deeprelax.data.sources import image_folder
from deeprelax.errors import UserError

from .fakes import write_images
from .folders import load, warnings, write_picture


def test_images_in_order_of_class_and_name(tmp_path: Path) -> None:
    root = write_images(tmp_path / "mine")
    data = load(root)
    assert data.classes == ("ant", "bee", "cow")
    assert data.train.images.shape == (18, 3, 12, 12)
    assert data.train.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert data.test.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    second = np.asarray(Image.open(root / "train" / "ant" / "1.png"))
    assert np.array_equal(data.train.images[1].permute(1, 2, 0), second)


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    data = load(write_images(tmp_path / "mine", mode="L"))
    assert data.train.images.shape == (18, 1, 12, 12)


def test_image_size_cuts_and_resizes(tmp_path: Path) -> None:
    data = load(write_images(tmp_path / "mine", size=(30, 20)), 8)
    assert data.train.images.shape == (18, 3, 8, 8)


def test_the_cache_is_used_until_the_folder_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_images(tmp_path / "mine")
    first, decoded = load(root), []
    original = image_folder._decode
    monkeypatch.setattr(image_folder, "_decode", lambda *a: (decoded.append(a), original(*a))[1])
    assert torch.equal(load(root).train.images, first.train.images)
    assert not decoded
    changed = root / "train" / "bee" / "3.png"
    Image.fromarray(np.full((12, 12, 3), 7, dtype=np.uint8)).save(changed)
    os.utime(changed, ns=(time.time_ns(), time.time_ns() + 1))
    assert (load(root).train.images[9] == 7).all()
    (root / "train" / "bee" / "3.png").unlink()
    assert len(load(root).train) == 17
    load(root, 6)
    assert len(decoded) == 27 + 26 + 26


def test_a_corrupt_cache_is_made_again(tmp_path: Path) -> None:
    root = write_images(tmp_path / "mine")
    first = load(root)
    (cache,) = (tmp_path / "cache" / "image_folder").glob("*.pt")
    for content in (b"", b"nonsense", cache.read_bytes()[:2000]):
        cache.write_bytes(content)
        assert torch.equal(load(root).train.images, first.train.images)


def test_classes_that_the_test_set_lacks_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_images(tmp_path / "mine")
    for name in ("owl", "emu"):
        write_picture(root / "train" / name / "1.png")
    data = load(root)
    assert warnings(caplog) == ["there are no test images of emu, owl"]
    assert data.classes == ("ant", "bee", "cow", "emu", "owl")
    assert data.test.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3


@pytest.mark.parametrize("name", ["validation", "val", "valid"])
def test_a_folder_of_validation_images_is_read(name: str, tmp_path: Path) -> None:
    root = write_images(tmp_path / "mine")
    assert load(root).validation is None
    for kind in ("ant", "cow"):
        write_picture(root / name / kind / "1.png")
    data = load(root)
    assert data.validation is not None
    assert data.validation.labels.tolist() == [0, 2]
    expected = np.asarray(Image.open(root / name / "cow" / "1.png"))
    assert np.array_equal(data.validation.images[1].permute(1, 2, 0), expected)
    assert (len(data.train), len(data.test)) == (18, 9)


def corrupt(root: Path) -> None:
    (root / "train" / "bee" / "2.jpg").write_bytes((root / "train" / "bee" / "2.jpg").read_bytes()[:200])


def not_an_image(root: Path) -> None:
    (root / "test" / "ant" / "1.png").write_text("hello")


def empty_class(root: Path) -> None:
    for file in (root / "train" / "cow").iterdir():
        file.unlink()


def test_class_only(root: Path) -> None:
    (root / "train" / "cow").rename(root.parent / "cow")


def other_size(root: Path) -> None:
    Image.new("RGB", (9, 12)).save(root / "train" / "cow" / "5.png")


def sixteen_bits(root: Path) -> None:
    Image.fromarray(np.full((12, 12), 40_000, dtype=np.uint16)).save(root / "train" / "cow" / "5.png")


def no_test(root: Path) -> None:
    (root / "test").rename(root.parent / "test")


def two_of_validation(root: Path) -> None:
    for name in ("val", "valid"):
        (root / name).mkdir()


def two_classes_only(root: Path) -> None:
    (root / "train" / "cow").rename(root.parent / "cow")
    write_picture(root / "test" / "owl" / "1.png")


def others_only(root: Path) -> None:
    for file in (root / "test" / "bee").iterdir():
        file.unlink()
    for name in ("1.gif", "2.gif", "more/1.png"):
        write_picture(root / "test" / "bee" / name)


def no_classes(root: Path) -> None:
    (root / "test").rename(root.parent / "test")
    (root / "test").mkdir()


test_class_only.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (corrupt, r"train/bee/2\.jpg is not a whole image \(.*\): replace or remove it"),
        (not_an_image, r"test/ant/1\.png is not a whole image"),
        (empty_class, r"train/cow holds no \.jpg, \.jpeg, \.png, .* images: add some or remove the folder"),
        (test_class_only, r"test/cow is a class that .*/train lacks: remove it or add training images"),
        (other_size, r"train/cow/5\.png has 9 x 12 pixels, others 12 x 12: set dataset\.image_size=PIXELS"),
        (
            sixteen_bits,
            r"train/cow/5\.png has more than 8 bits a channel, which would be cut off: convert it to 8 bits",
        ),
        (no_test, r"mine holds train/ but no test/: add it; or split that one, by dataset\.path=.*mine/train; or, if "),
        (two_of_validation, r"mine holds val and valid: leave one folder of validation images"),
        (two_classes_only, r"mine/test holds cow, owl, classes that .*/train lacks: remove it or add training images"),
        (others_only, r"test/bee holds no \.jpg.* images \(2 \.gif, 1 folder\): add some or remove the folder"),
        (no_classes, r"mine/test holds no class folders"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_half_written_stays(damage: object, message: str, tmp_path: Path) -> None:
    root = write_images(tmp_path / "mine")
    damage(root)
    with pytest.raises(UserError, match=message):
        load(root)
    assert not list((tmp_path / "cache").rglob("*.pt*"))


def test_images_that_are_not_squares_need_a_size(tmp_path: Path) -> None:
    root = write_images(tmp_path / "mine", size=(12, 10))
    with pytest.raises(UserError, match=r"0\.jpg has 12 x 10 pixels, not a square: set dataset\.image_size=PIXELS"):
        load(root)


def test_no_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"needs dataset\.path=FOLDER"):
        image_folder.load_image_folder(tmp_path)
