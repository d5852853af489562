"""Runs on folders of images: their split is written down, and what older runs lack is understood."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from deeprelax.errors import UserError
from deeprelax.records import checkpoint
from deeprelax.records.directory import RunDirectory
from tests.data.fakes import write_images
from tests.hooks import interrupt_at
from tests.quick import QUICK, contents, directory, train

Command = Callable[..., tuple[int, str, str]]
Compose = Callable[..., DictConfig]
FOLDER = [
    "train", *QUICK, "dataset.train_size=null", "dataset=image_folder", "dataset.image_size=28", "batch_size=4",
    "optimizer=sgd", "optimizer.lr=0.001",
]  # fmt: skip
NEW = ("parts", "mirror", "crop_padding", "crop_scale", "color_jitter", "split", "split_seed")


def test_the_split_is_in_the_run_and_follows_it(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(Path("mine"), per_class=12)
    run = [*FOLDER, "dataset.path=mine/train", "train.checkpoint_every=1", "dataset.train_size=20"]
    run += [
        "dataset.parts=stratified",
        "dataset.augment=resized_crop",
        "dataset.mirror=true",
        "dataset.color_jitter=0.3",
    ]
    assert deeprelax(*run, "output_dir=whole")[0] == 0
    whole = directory("whole")
    content = json.loads(RunDirectory(whole).split.read_text())
    assert list(content) == ["train", "validation", "test"]
    assert [len(content[part]) for part in content] == [20, 5, 5]
    files = [file for part in content.values() for file in part]
    assert len(set(files)) == 30
    assert all((Path("mine") / "train" / file).is_file() for file in files)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 11)
        assert deeprelax(*run, "output_dir=parts")[0] == 130
    assert deeprelax(*run, "output_dir=parts")[0] == 0
    before, after = contents(whole), contents(directory("parts"))
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert before[1:] == after[1:]
    assert deeprelax("evaluate", str(whole))[1].endswith("as in result.json\n")
    assert deeprelax(*run, "output_dir=whole", "dataset.split_seed=1")[0] == 0
    other = next(file for file in Path("whole").rglob("split.json") if file.parent != whole)
    assert json.loads(other.read_text())["test"] != content["test"]


def test_a_folder_with_train_and_test_has_no_such_file(deeprelax: Command) -> None:
    write_images(Path("mine"))
    assert deeprelax(*FOLDER, "dataset.path=mine")[0] == 0
    assert not RunDirectory(directory()).split.exists()


def test_a_run_from_before_there_were_these_keys_goes_on(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(Path("mine"))
    run = [*FOLDER, "dataset.path=mine", "dataset.augment=flip_crop", "train.checkpoint_every=1"]
    interrupted(deeprelax, run, monkeypatch)
    older(directory())
    assert deeprelax(*run)[0] == 0
    assert deeprelax(*run, "output_dir=whole")[0] == 0
    assert contents(directory())[1:] == contents(directory("whole"))[1:]
    older(directory())
    assert deeprelax(*run)[0] == 0
    assert deeprelax(*run, f"continue_from={directory()}", "epochs=7", "output_dir=longer")[0] == 0
    assert "chain" not in json.loads((directory("longer") / "result.json").read_text())  # one optimizer, one part


def test_images_of_two_channels_have_no_colours(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("pairs.py").write_text(
        "import torch\n"
        "from deeprelax.data.images import ImageData, Split\n"
        "def load(data_dir):\n"
        "    part = Split(torch.zeros(40, 2, 28, 28, dtype=torch.uint8), torch.arange(40) % 2)\n"
        "    return ImageData(part, part, ('a', 'b'))\n"
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    own = ["dataset=custom", "dataset.name=pairs:load", "dataset.train_size=null", "dataset.color_jitter=0.3"]
    status, _, err = deeprelax("train", *QUICK, *own, "optimizer=sgd")
    assert (status, err.count("\n")) == (1, 1)
    assert "dataset.color_jitter=0.3: the images have 2 channels" in err


def interrupted(deeprelax: Command, run: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 11)
        assert deeprelax(*run)[0] == 130


def older(path: Path) -> None:
    """Take what an older version did not write out of a run's configuration and checkpoint."""
    files = RunDirectory(path)
    config: Any = OmegaConf.load(files.config)
    for key in NEW:
        del config.dataset[key]
    del config.model.freeze, config.optimizer.groups, config.name, config.tags
    OmegaConf.save(config, files.config)
    state = checkpoint.load(files.checkpoint)
    for key in NEW:
        del state["configuration"][f"dataset.{key}"]
    del state["configuration"]["model.freeze"], state["configuration"]["optimizer.groups"]
    files.previous.unlink(missing_ok=True)
    checkpoint.save(path, state)


def test_a_run_whose_images_were_shifted_by_other_amounts_is_not_resumed(
    deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(Path("mine"))
    run = [*FOLDER, "dataset.path=mine", "dataset.augment=flip_crop", "train.checkpoint_every=1"]
    run += ["dataset.image_size=36"]
    interrupted(deeprelax, run, monkeypatch)
    older(directory())
    status, _, err = deeprelax(*run)
    assert status == 1
    assert (
        "began with images shifted by up to 4 pixels; of 36 pixels they now are by an eighth: start again with" in err
    )
    shutil.rmtree("outputs")
    interrupted(deeprelax, run, monkeypatch)
    assert deeprelax(*run)[0] == 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dataset.crop_padding=3"], r"dataset\.crop_padding does nothing with dataset\.augment=none: take dataset"),
        (
            ["dataset.augment=crop", "dataset.crop_scale=[0.5,1]"],
            r"dataset\.crop_scale does nothing with dataset\.augment=crop: take dataset\.augment=resized_crop",
        ),
        (
            ["dataset.crop_scale=[0.9,0.1]"],
            r"dataset\.crop_scale=\[0\.9, 0\.1\] is out of range: it must be two shares ",
        ),
        (
            ["dataset.split=[0.5,0.5]"],
            r"dataset\.split=\[0\.5, 0\.5\] is out of range: it must be three shares that add",
        ),
        (["dataset.split=[1,0,0]"], r"dataset\.split=\[1\.0, 0\.0, 0\.0\] is out of range"),
        (["dataset.color_jitter=1.5"], r"dataset\.color_jitter=1\.5 is out of range: it must be a number from 0 to 1"),
        (["dataset.parts=even"], r"dataset\.parts=even is out of range: it must be balanced or stratified"),
    ],
)
def test_keys_that_make_no_sense_are_refused_before_an_image_is_read(
    overrides: list[str], message: str, compose: Compose, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        train(compose, tmp_path, "dataset=image_folder", "dataset.path=nowhere", "optimizer=sgd", *overrides)
