"""Test folders of class folders that are split, and what is said of memory."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deeprelax.data.images import Split
from deeprelax.data.sources import memory
from deeprelax.errors import UserError

from .folders import load

COUNTS = {"ant": 40, "bee": 20, "cow": 7, "owl": 1}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    for name, count in COUNTS.items():
        (tmp_path / "mine" / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "mine" / name / f"{i}.png")
    return tmp_path / "mine"


def names(split: Split | None) -> tuple[str, ...]:
    assert split is not None
    assert split.files is not None
    return split.files


def test_each_class_is_split_in_the_same_shares(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="deeprelax")
    data = load(root)
    assert data.classes == tuple(COUNTS)
    assert data.validation is not None
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    found = {name: torch.bincount(part.labels, minlength=4).tolist() for name, part in parts.items()}
    assert found == {"train": [28, 14, 5, 1], "validation": [6, 3, 1, 0], "test": [6, 3, 1, 0]}
    everything = [*names(data.train), *names(data.validation), *names(data.test)]
    assert sorted(everything) == sorted(f"{name}/{i}.png" for name, count in COUNTS.items() for i in range(count))
    for part in parts.values():
        for file, pixels, label in zip(names(part), part.images, part.labels, strict=True):
            assert np.array_equal(pixels.permute(1, 2, 0), np.asarray(Image.open(root / file)))
            assert data.classes[label] == file.partition("/")[0]
    texts = [record.getMessage() for record in caplog.records]
    assert f"{root} is split into 48 train, 10 validation and 10 test images (dataset.split_seed=0)" in texts
    assert "there are no test images of owl" in texts
    assert "there are no validation images of owl" in texts


def test_the_split_is_fixed_by_its_seed_and_not_by_the_cache(root: Path) -> None:
    first, other = load(root), load(root, split_seed=1)
    again = load(root, split=[0.7, 0.15, 0.15])
    assert names(first.test) == names(again.test)
    assert names(first.validation) == names(again.validation)
    assert torch.equal(first.train.images, again.train.images)
    assert set(names(first.test)) != set(names(other.test))
    assert len(list((root.parent / "cache" / "image_folder").glob("*.pt"))) == 1


def test_shares_of_ones_own(root: Path) -> None:
    data = load(root, split=[0.5, 0, 0.5])
    assert data.validation is None
    assert torch.bincount(data.test.labels, minlength=4).tolist() == [20, 10, 4, 0]
    with pytest.raises(UserError, match=r"^dataset\.split: the number of test images=65 is more than the 64 "):
        load(root, split=[0.04, 0, 0.96])


def test_a_class_may_be_called_train(root: Path) -> None:
    (root / "bee").rename(root / "train")
    with pytest.raises(UserError, match=r"if train is a class, say dataset\.split=\[0\.7,0\.15,0\.15\]"):
        load(root)
    assert load(root, split=[0.7, 0.15, 0.15]).classes == ("ant", "cow", "owl", "train")
    (root / "owl").rename(root / "test")
    with pytest.raises(
        UserError, match=r"^dataset\.split is given, but .*mine is split into train/ and test/: leave it"
    ):
        load(root, split=[0.7, 0.15, 0.15])


GPU = torch.device("cuda")


@pytest.mark.parametrize(
    ("free", "device", "words"),
    [
        (
            {"cpu": 2 * 68 * 108 - 1},
            None,
            ", twice that while they are read, and 1.47e-05 GB of memory are free on cpu",
        ),
        ({"cpu": 2 * 68 * 108}, None, ""),
        ({"cpu": 10**9, "cuda": 68 * 108 - 1}, GPU, ", and 7.34e-06 GB of memory are free on cuda"),
        ({"cpu": 10**9, "cuda": 68 * 108}, GPU, ""),
        ({"cpu": None}, None, ""),
    ],
)
def test_images_that_do_not_fit_are_noted_before_they_are_decoded(
    free: dict[str, int | None], device: torch.device | None, words: str, root: Path,
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(memory, "available", lambda place: free[place.type])
    caplog.set_level(logging.INFO, logger="deeprelax")
    load(root, device=device)
    noted, decoding = (
        [i for i, record in enumerate(caplog.records) if text in record.getMessage()]
        for text in (
            f"68 images of 6 x 6 pixels take up to 7.34e-06 GB{words}: lower dataset.image_size",
            "decoding 68",
        )
    )
    assert len(noted) == bool(words)
    assert not noted or noted < decoding


def test_the_free_memory_is_the_least_of_machine_and_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "GROUP", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    assert memory.available(cpu) is None
    (tmp_path / "meminfo").write_text("MemTotal:       4000 kB\nMemAvailable:   3000 kB\n")
    assert memory.available(cpu) == 3000 * 1024
    (tmp_path / "cgroup").write_text("0::/mine/job\n")
    (tmp_path / "mine" / "job").mkdir(parents=True)
    for name, text in (("max", "1000000"), ("current", "400000"), ("stat", "anon 5\ninactive_file 50000\n")):
        (tmp_path / "mine" / "job" / f"memory.{name}").write_text(text)
    assert memory.available(cpu) == 650_000
    (tmp_path / "mine" / "job" / "memory.max").write_text("max\n")
    assert memory.available(cpu) == 3000 * 1024
