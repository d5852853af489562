"""Test data sets of a user's own images."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, UnidentifiedImageError, features

from deeprelax.data.images import ImageData
from deeprelax.data.sources import image_folder
from deeprelax.errors import UserError

from .fakes import write_images


def load(root: Path, image_size: int | None = None, **keywords: Any) -> ImageData:
    return image_folder.load_image_folder(root.parent / "cache", image_size, path=str(root), **keywords)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def write_picture(file: Path, pixels: np.ndarray[Any, Any] | None = None, **how: Any) -> Path:
    """An image of 12 x 12 colour pixels, or of these, in the format that the name's ending means."""
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(file.name)).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(noise if pixels is None else pixels).save(file, **how)
    return file


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


def test_every_kind_that_pillow_reads_gives_the_same_pixels(tmp_path: Path) -> None:
    root = write_images(tmp_path / "mine")
    pixels = np.random.default_rng(5).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    how: dict[str, dict[str, Any]] = {"png": {}, "webp": {"lossless": True}, "bmp": {}, "tif": {}, "TIFF": {}}
    how["tiff"] = {"compression": "tiff_lzw"}
    for i, (kind, options) in enumerate(how.items()):
        write_picture(root / "train" / "owl" / f"{i}.{kind}", pixels, **options)
    images = load(root).train.images[-len(how) :]
    assert images.shape == (6, 3, 12, 12)
    assert (images == torch.from_numpy(pixels).permute(2, 0, 1)).all()


def test_other_files_are_counted_and_named_and_hidden_ones_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_images(tmp_path / "mine")
    first = load(root).train.images
    assert not warnings(caplog)
    for name in (".thumbs/1.png", "ant/.1.png", "bee/._1.jpg"):
        write_picture(root / "train" / name)
    assert torch.equal(load(root).train.images, first)
    assert not warnings(caplog)
    for name in ("ant/1.gif", "cow/2.GIF", "bee/more/1.png", "loose.png"):
        write_picture(root / "train" / name)
    (root / "train" / "cow" / "labels").write_text("cow")
    assert torch.equal(load(root).train.images, first)
    assert warnings(caplog) == [
        f"{root / 'train'}: 2 .gif, 1 .png, 1 folder, 1 without an ending not taken, as loose.png; taken are "
        ".jpg, .jpeg, .png, .webp, .bmp, .tif, .tiff files in class folders"
    ]


UPRIGHT = np.arange(12, dtype=np.uint8).reshape(3, 4).repeat(4, 0).repeat(3, 1)[..., None].repeat(3, 2) * 20
STORED = {  # the pixels as a camera stores them, by EXIF orientation
    1: UPRIGHT, 2: UPRIGHT[:, ::-1], 3: UPRIGHT[::-1, ::-1], 4: UPRIGHT[::-1], 5: UPRIGHT.swapaxes(0, 1),
    6: np.rot90(UPRIGHT), 7: UPRIGHT[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(UPRIGHT, -1),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["png", "webp", "tif", "jpg"])
def test_images_are_turned_as_their_exif_orientation_says(kind: str, tmp_path: Path) -> None:
    root = write_images(tmp_path / "mine")
    for orientation, pixels in STORED.items():
        exif = Image.Exif()
        exif[image_folder.ORIENTATION] = orientation
        lossless = {"lossless": True} if kind == "webp" else {"quality": 100} if kind == "jpg" else {}
        write_picture(
            root / "train" / "owl" / f"{orientation}.{kind}", np.ascontiguousarray(pixels), exif=exif, **lossless
        )
    found = load(root).train.images[-8:].permute(0, 2, 3, 1).int()
    assert (found - torch.from_numpy(UPRIGHT)).abs().max() <= (3 if kind == "jpg" else 0)


def test_malformed_exif_data_do_no_harm(tmp_path: Path) -> None:
    root = write_images(tmp_path / "mine")
    file = write_picture(root / "train" / "owl" / "1.png", UPRIGHT, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09nonsense")
    with Image.open(file) as image:
        assert image.info["exif"]
    assert (load(root).train.images[-1].permute(1, 2, 0) == torch.from_numpy(UPRIGHT)).all()


def test_a_cache_from_before_images_were_turned_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fingerprint and content as that version had them."""
    root = write_images(tmp_path / "mine")
    first = load(root)
    (cache,) = (tmp_path / "cache" / "image_folder").glob("*.pt")
    parts = image_folder.parts_of(root, split=False)
    digest = hashlib.blake2b(f"1 {root} None".encode())
    for listing in parts.values():
        for file, stamp in zip(listing.files, listing.stamps, strict=True):
            digest.update(f"{file} {stamp}\n".encode())
    black = {"train": torch.zeros_like(first.train.images), "test": torch.zeros_like(first.test.images)}
    torch.save({"fingerprint": digest.hexdigest(), "images": black}, cache)
    assert torch.equal(load(root).train.images, first.train.images)


def test_a_pillow_without_webp_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_images(tmp_path / "mine")
    write_picture(root / "train" / "cow" / "9.webp")

    def unidentified(file: Path) -> None:
        raise UnidentifiedImageError(f"cannot identify image file {str(file)!r}")

    opened = Image.open
    monkeypatch.setattr(Image, "open", lambda file: unidentified(file) if file.suffix == ".webp" else opened(file))
    monkeypatch.setattr(features, "check", lambda feature: feature != "webp")
    message = r"train/cow/9\.webp cannot be read by this Pillow \([\d.]+\), which was built without what \.webp needs: "
    with pytest.raises(UserError, match=message):
        load(root)
    monkeypatch.setattr(features, "check", lambda feature: True)
    with pytest.raises(UserError, match=r"train/cow/9\.webp is not a whole image \(cannot identify "):
        load(root)


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
