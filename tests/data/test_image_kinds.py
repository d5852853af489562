"""Which files of a folder are read, and as what pixels: formats, EXIF orientation, hidden files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, UnidentifiedImageError, features

from deeprelax.data.sources import image_folder
from deeprelax.errors import UserError

from .fakes import write_images
from .folders import load, warnings, write_picture


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
