"""Load a user's own images, split or to be split, and cache the decoded pixels."""

from __future__ import annotations

import hashlib
import logging
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ...errors import UserError
from ...files import exclusive, replace
from ..images import ImageData, Split
from . import memory
from .listing import SHARES, Listing, named, parts_of
from .parts import stratified
from .store import image_cache

log = logging.getLogger(__name__)
ORIENTATION = 0x0112  # the EXIF tag


def load_image_folder(
    data_dir: Path, image_size: int | None = None, *, path: str | None = None, split: Sequence[float] | None = None,
    split_seed: int = 0, device: torch.device | None = None,
) -> ImageData:  # fmt: skip
    """Images in `path`/train/<class>/ and `path`/test/<class>/, or in `path`/<class>/; the class is the folder's name.

    In the first case `path`/validation/<class>/ (or val/, valid/) holds validation images, if it is there. In the
    second they are split, each class in the shares `split` of train, validation and test, by default 0.7, 0.15, 0.15,
    the same for the same files and `split_seed`.

    With `image_size` each image is cut to a square around its centre and resized, bilinear with anti-aliasing; without,
    all must be squares of one size. Images are turned as their EXIF orientation says. Grey if all are grey, else RGB.
    The decoded pixels are kept in one file under `data_dir`/image_folder, which is rebuilt when a file of the folder
    changes. device: where the images are to lie; the log has a warning if they do not fit into its memory.

    Raises UserError, naming the file or folder, for what is missing, empty, corrupt or does not fit.
    """
    if path is None:
        raise UserError(
            "dataset=image_folder needs dataset.path=FOLDER, which holds train/ and test/, or class folders"
        )
    root = Path(path).expanduser().absolute()
    listings = parts_of(root, split=split is not None)
    files = [file for listing in listings.values() for file in listing.files]
    size = image_size or _square(files[0])
    _note_memory(len(files), size, device or torch.device("cpu"))
    fingerprint = _fingerprint(root, listings, image_size)
    cache = image_cache(data_dir) / f"{hashlib.blake2b(f'{root} {image_size}'.encode(), digest_size=8).hexdigest()}.pt"
    try:
        with exclusive(cache.parent):  # of several runs that start at once, one decodes and the others read its cache
            images = _cached(cache, fingerprint)
            if images is None:
                images = _decode_all(root, files, image_size, size, cache, fingerprint)
    except OSError as error:
        raise UserError(f"{cache} cannot be written ({error.strerror}): set data_dir to a folder that can be") from None
    if "all" in listings:
        names = tuple(file.relative_to(root).as_posix() for file in files)
        whole = Split(images, torch.tensor(listings["all"].labels), names)
        parts = _split(whole, split or SHARES, split_seed)
        counts = " and ".join(", ".join(f"{len(part)} {name}" for name, part in parts.items()).rsplit(", ", 1))
        log.info("%s is split into %s images (dataset.split_seed=%d)", root, counts, split_seed)
    else:
        parts = _by_folder(images, listings)
    classes = next(iter(listings.values())).classes
    for name, part in parts.items():
        if lacking := [each for i, each in enumerate(classes) if not (part.labels == i).any()]:
            log.warning("there are no %s images of %s", name, named(lacking))
    return ImageData(parts["train"], parts["test"], tuple(classes), parts.get("validation"))


def _by_folder(images: Tensor, listings: Mapping[str, Listing]) -> dict[str, Split]:
    classes, start, parts = listings["train"].classes, 0, {}
    for name, listing in listings.items():
        place = torch.tensor([classes.index(each) for each in listing.classes])
        labels = place[torch.tensor(listing.labels)]
        parts[name] = Split(images[start : start + len(labels)], labels)
        start += len(labels)
    return parts


def _split(whole: Split, shares: Sequence[float], seed: int) -> dict[str, Split]:
    """Train, validation (unless its share is 0) and test images, of each class in these shares to within one image."""
    parts, rest = {}, torch.arange(len(whole))
    for name, share in (("test", shares[2]), ("validation", shares[1])):
        if share:
            size, key = max(1, round(share * len(whole))), f"dataset.split: the number of {name} images"
            taken, left = stratified(whole.labels[rest], size, key, stream=(seed, name))
            parts[name], rest = whole[rest[taken]], rest[left]
    return {"train": whole[rest], **dict(reversed(parts.items()))}


def _note_memory(images: int, size: int, device: torch.device) -> None:
    """Warn if all images do not fit into the device's memory or, twice as when they are read, into the machine's."""
    needed = 3 * images * size**2
    for place, times in ((torch.device("cpu"), 2), *([(device, 1)] if device.type != "cpu" else [])):
        there = memory.available(place)
        if there is not None and times * needed > there:
            log.warning(
                "%d images of %d x %d pixels take up to %.3g GB%s, and %.3g GB of memory are free on %s: lower "
                "dataset.image_size, or leave images out",
                images, size, size, needed / 1e9, ", twice that while they are read" * (times == 2), there / 1e9, place,
            )  # fmt: skip


def _fingerprint(root: Path, listings: Mapping[str, Listing], image_size: int | None) -> str:
    """A hash of names, sizes and times of the files; the 2 in it is the version of the decoding and of the cache."""
    digest = hashlib.blake2b(f"2 {root} {image_size}".encode())
    for listing in listings.values():
        for file, stamp in zip(listing.files, listing.stamps, strict=True):
            digest.update(f"{file} {stamp}\n".encode())
    return digest.hexdigest()


def _cached(cache: Path, fingerprint: str) -> Tensor | None:
    try:
        content: dict[str, Any] = torch.load(cache, weights_only=True)
        return content["images"] if content["fingerprint"] == fingerprint else None
    except (FileNotFoundError, pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, KeyError, TypeError):
        return None  # missing or corrupt: it is rebuilt


def _decode_all(
    root: Path, files: Sequence[Path], image_size: int | None, size: int, cache: Path, fingerprint: str
) -> Tensor:
    """Decode all files and write the cache. Returns uint8 (N, C, H, W)."""
    pixels = np.empty((len(files), 3, size, size), dtype=np.uint8)

    def decode(index: int) -> bool:
        picture, grey = _decode(files[index], image_size, size)
        pixels[index] = picture.transpose(2, 0, 1)
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
    images = torch.from_numpy(pixels[:, :1].copy() if all(found) else pixels)
    replace(cache, lambda file: torch.save({"fingerprint": fingerprint, "images": images}, file))
    return images


def _decode(file: Path, image_size: int | None, size: int) -> tuple[np.ndarray[Any, Any], bool]:
    """Pixels uint8 (size, size, 3), and whether the image was grey. Raises UserError if it cannot be read or fit."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            image.load()
            grey, deep = image.mode in ("1", "L", "LA"), image.mode in ("F", "I") or image.mode.startswith("I;")
            picture = _upright(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(file, error) from None
    if deep:
        raise UserError(f"{file} has more than 8 bits a channel, which would be cut off: convert it to 8 bits")
    if image_size is not None:
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR)
    elif picture.size != (size, size):
        width, height = picture.size
        raise UserError(f"{file} has {width} x {height} pixels, others {size} x {size}: set dataset.image_size=PIXELS")
    return np.asarray(picture), grey


def _upright(image: Any) -> Any:
    """A loaded image, turned as its EXIF orientation says.

    Not by ImageOps.exif_transpose, which writes all of the EXIF data again and fails if any of it is malformed.
    """
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(ORIENTATION)  # once loaded: a TIFF file is turned by then, and has none
    except Exception:  # Pillow raises what it may; the pixels were whole
        return image
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
    }  # fmt: skip
    return image.transpose(turns[orientation]) if orientation in turns else image


def _unreadable(file: Path, error: Exception) -> UserError:
    """What is raised for an image that Pillow does not read."""
    import PIL
    from PIL import features

    kind = file.suffix.lower()
    if "not available" in str(error) or (kind == ".webp" and not features.check("webp")):
        return UserError(
            f"{file} cannot be read by this Pillow ({PIL.__version__}), which was built without what {kind} needs: "
            "install another build of it, or convert the image to PNG"
        )
    return UserError(f"{file} is not a whole image ({error}): replace or remove it")


def _square(file: Path) -> int:
    """The side of an image in pixels. Raises UserError if it is not a square, or cannot be read."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            width, height = image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(file, error) from None
    if width != height:
        raise UserError(f"{file} has {width} x {height} pixels, not a square: set dataset.image_size=PIXELS")
    return int(width)


def read_image(file: Path, size: int, channels: int) -> torch.Tensor:
    """A picture as an image of a data set is read, uint8 (channels, size, size), in colour or in grey (1 channel).

    Raises UserError, naming the file, if it cannot be read.
    """
    from PIL import Image

    pixels, _ = _decode(file, size, size)
    if channels == 1:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[..., None]  # of a grey one, its own values
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())
