"""Load a user's own images, train/<class>/* and test/<class>/*, and cache the decoded pixels."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ...errors import UserError
from ...files import exclusive, replace
from ..images import ImageData, Split

log = logging.getLogger(__name__)
EXTENSIONS = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of train/ or test/, sorted by class and name, with stamps that change when a file does."""

    files: list[Path]
    labels: list[int]
    classes: list[str]
    stamps: list[tuple[int, int]]  # size in bytes, time of the last change in ns


def load_image_folder(data_dir: Path, image_size: int | None = None, *, path: str | None = None) -> ImageData:
    """JPEG and PNG images in `path`/train/<class>/ and `path`/test/<class>/; the class is the folder's name.

    With `image_size` each image is cut to a square around its centre and resized, bilinear with anti-aliasing; without,
    all must be squares of one size. Grey if all images are grey, else RGB. The decoded pixels are kept in one file
    under `data_dir`/image_folder, which is rebuilt when a file of the folder changes.

    Raises UserError, naming the file or folder, for what is missing, empty, corrupt or does not fit.
    """
    if path is None:
        raise UserError("dataset=image_folder needs dataset.path=FOLDER, the folder that holds train/ and test/")
    root = Path(path).expanduser().absolute()
    listings = {split: _list(root / split) for split in ("train", "test")}
    classes = listings["train"].classes
    if unknown := sorted(set(listings["test"].classes) - set(classes)):
        raise UserError(
            f"{root / 'test' / unknown[0]} is a class that {root / 'train'} lacks: remove it or add training images"
        )
    fingerprint = _fingerprint(root, listings, image_size)
    cache = (
        data_dir / "image_folder" / f"{hashlib.blake2b(f'{root} {image_size}'.encode(), digest_size=8).hexdigest()}.pt"
    )
    try:
        with exclusive(cache.parent):  # of several runs that start at once, one decodes and the others read its cache
            tensors = _cached(cache, fingerprint) or _decode_all(root, listings, image_size, cache, fingerprint)
    except OSError as error:
        raise UserError(f"{cache} cannot be written ({error.strerror}): set data_dir to a folder that can be") from None
    splits = []
    for split, listing in listings.items():
        names = {label: classes.index(name) for label, name in enumerate(listing.classes)}
        splits.append(Split(tensors[split], torch.tensor([names[label] for label in listing.labels])))
    return ImageData(splits[0], splits[1], tuple(classes))


def _list(folder: Path) -> Listing:
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: dataset.path must hold train/<class>/ and test/<class>/")
    classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    if not classes:
        raise UserError(f"{folder} holds no class folders: images belong into {folder}/<class>/")
    listing = Listing([], [], classes, [])
    for label, name in enumerate(classes):
        entries = [e for e in os.scandir(folder / name) if e.is_file() and e.name.lower().endswith(EXTENSIONS)]
        if not entries:
            raise UserError(f"{folder / name} holds no {', '.join(EXTENSIONS)} images: add some or remove the folder")
        for entry in sorted(entries, key=lambda e: e.name):
            found = entry.stat()
            listing.files.append(Path(entry.path))
            listing.labels.append(label)
            listing.stamps.append((found.st_size, found.st_mtime_ns))
    return listing


def _fingerprint(root: Path, listings: dict[str, Listing], image_size: int | None) -> str:
    """A hash of names, sizes and times of the files; the 1 in it is the version of the cache's format."""
    digest = hashlib.blake2b(f"1 {root} {image_size}".encode())
    for listing in listings.values():
        for file, stamp in zip(listing.files, listing.stamps, strict=True):
            digest.update(f"{file} {stamp}\n".encode())
    return digest.hexdigest()


def _cached(cache: Path, fingerprint: str) -> dict[str, torch.Tensor] | None:
    try:
        content: dict[str, Any] = torch.load(cache, weights_only=True)
        return content["images"] if content["fingerprint"] == fingerprint else None
    except (FileNotFoundError, pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, KeyError, TypeError):
        return None  # missing or corrupt: it is rebuilt


def _decode_all(
    root: Path, listings: dict[str, Listing], image_size: int | None, cache: Path, fingerprint: str
) -> dict[str, torch.Tensor]:
    """Decode all files and write the cache. Returns the images of train and test, uint8 (N, C, H, W)."""
    files = [file for listing in listings.values() for file in listing.files]
    size = image_size or _square(files[0])
    pixels = np.empty((len(files), size, size, 3), dtype=np.uint8)

    def decode(index: int) -> bool:
        pixels[index], grey = _decode(files[index], image_size, size)
        return grey

    log.info("decoding %d images of %s once", len(files), root)
    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter's lock
        try:
            found = list(
                tqdm(pool.map(decode, range(len(files)), chunksize=64), total=len(files), unit="img", disable=None)
            )
        except BaseException:  # Ctrl-C or a corrupt image: else the pool would decode all the others first
            pool.shutdown(cancel_futures=True)
            raise
    channels_last = torch.from_numpy(pixels[..., :1] if all(found) else pixels)
    images = channels_last.permute(0, 3, 1, 2).contiguous()
    train = len(listings["train"].files)
    tensors = {"train": images[:train].clone(), "test": images[train:].clone()}
    replace(cache, lambda file: torch.save({"fingerprint": fingerprint, "images": tensors}, file))
    return tensors


def _decode(file: Path, image_size: int | None, size: int) -> tuple[np.ndarray[Any, Any], bool]:
    """Pixels uint8 (size, size, 3), and whether the image was grey. Raises UserError if it cannot be read or fit."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            grey, deep = image.mode in ("1", "L", "LA"), image.mode in ("F", "I") or image.mode.startswith("I;")
            picture = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{file} is not a whole JPEG or PNG image ({error}): replace or remove it") from None
    if deep:
        raise UserError(f"{file} has more than 8 bits a channel, which would be cut off: convert it to 8 bits")
    if image_size is not None:
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR)
    elif picture.size != (size, size):
        width, height = picture.size
        raise UserError(f"{file} has {width} x {height} pixels, others {size} x {size}: set dataset.image_size=PIXELS")
    return np.asarray(picture), grey


def _square(file: Path) -> int:
    """The side of an image in pixels. Raises UserError if it is not a square, or cannot be read."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            width, height = image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{file} is not a whole JPEG or PNG image ({error}): replace or remove it") from None
    if width != height:
        raise UserError(f"{file} has {width} x {height} pixels, not a square: set dataset.image_size=PIXELS")
    return int(width)
