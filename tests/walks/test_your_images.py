"""The commands of docs/your_images.md, one after another, on pictures that are made here."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs" / "your_images.md"
SHORTER = ["hardware.threads=1", "batch_size=20"]  # of commands that train
QUICK = {"epochs=20": "epochs=4", "epochs=10": "epochs=1", "model=resnet18": "model=lenet"}


def picture(rng: np.random.Generator, shape: str) -> np.ndarray:
    """A light square, or a light disc, on a dark ground, uint8 (80, 100, 3)."""
    y, x = np.mgrid[:80, :100] - rng.integers(30, 50, 2)[:, None, None]
    inside = (np.abs(x) < 20) & (np.abs(y) < 20) if shape == "squares" else x**2 + y**2 < 400
    return (rng.integers(0, 60, (80, 100, 3)) + 150 * inside[..., None]).astype(np.uint8)


def make_pictures(folder: Path) -> None:
    """photos/<class>/ and new_pictures/, and a file of weights that torchvision could have saved."""
    from PIL import Image
    from torchvision.models import resnet18

    rng = np.random.default_rng(0)
    for name in ("squares", "discs"):
        for i in range(40):
            place = folder / ("photos" if i < 36 else "new_pictures") / name
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(rng, name)).save(place / f"{i}.{'png' if i % 2 else 'jpg'}")
    torch.save(resnet18(num_classes=1000).state_dict(), folder / "resnet18.pth")


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer passes, and with a smaller network where the page has ResNet-18 trained from the beginning."""
    monkeypatch.chdir(tmp_path)
    make_pictures(tmp_path)
    commands = [line.strip() for line in PAGE.read_text().splitlines() if line.startswith("    deeprelax ")]
    assert [command.split()[1] for command in commands] == [
        "train", "find-lr", "train", "train", "predict", "evaluate", "export",
    ]  # fmt: skip
    printed = {}
    for number, command in enumerate(commands):
        words = [QUICK.get(word, word) for word in shlex.split(command)[1:]]
        if words[0] in ("train", "find-lr"):
            words[1:1] = [*SHORTER, "data_dir=cache"]
        else:
            (result,) = Path("mine").rglob("result.json")
            words = [str(result.parent) if word == "RUN" else word for word in words]
        found = subprocess.run(
            [sys.executable, "-m", "deeprelax", *words], capture_output=True, text=True, timeout=300,
            env={**os.environ, "COLUMNS": "100"},
        )  # fmt: skip
        assert found.returncode == 0, (words, found.stdout, found.stderr)
        printed[number] = found.stdout
    assert "suggested optimizer.lr=" in printed[1]
    assert len(Path("all.csv").read_text().splitlines()) == 1 + 8
    network = torch.export.load("net.pt2").module()
    probabilities = network(torch.zeros(3, 3, 64, 64, dtype=torch.uint8))
    assert torch.allclose(probabilities.sum(1), torch.ones(3), atol=1e-5)
