"""A run that was made on a GPU, with what only GPUs have, is used and resumed on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from PIL import Image

from deeprelax.records import checkpoint
from tests.hooks import interrupt_at
from tests.quick import RUN, assert_same

Command = Callable[..., tuple[int, str, str]]
MADE = [*RUN, "model=mlp", "model.hidden=16", "train.checkpoint_every=1"]
OF_GPUS = ["cuda_graphs", "sync_batchnorm"]


def as_from_a_gpu(directory: Path, *keys: str) -> None:
    """Its configuration has these keys of `hardware`, in both places where it is kept."""
    config = OmegaConf.load(directory / "config.yaml")
    state = checkpoint.load(directory / checkpoint.NAME)
    for key in keys:
        OmegaConf.update(config, f"hardware.{key}", True)
        state["configuration"][f"hardware.{key}"] = True
    OmegaConf.save(config, directory / "config.yaml")
    checkpoint.save(directory, state)


@pytest.mark.parametrize("key", [*OF_GPUS, "compile"])
def test_it_is_evaluated_and_predicts_and_is_exported(key: str, deeprelax: Command) -> None:
    assert deeprelax(*MADE, "epochs=1", "hydra.run.dir=made")[::2] == (0, "")
    as_from_a_gpu(Path("made"), key)
    status, out, err = deeprelax("evaluate", "made", "hardware.device=cpu")
    assert (status, out.splitlines()[-1], err) == (0, "as in result.json", "")
    Image.new("L", (28, 28)).save("picture.png")
    status, out, err = deeprelax("predict", "made", "picture.png")
    assert (status, err) == (0, "")
    assert "picture.png" in out
    if key == "cuda_graphs":  # no other key is read on this way, which takes seconds
        assert deeprelax("export", "made", "made.pt2")[::2] == (0, "")


@pytest.mark.parametrize("keys", [OF_GPUS[:1], OF_GPUS])
def test_it_resumes(keys: list[str], deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch norm of one rank sees the whole batch, with sync_batchnorm or without; graphs are left out."""
    said = [f"hardware.{key}=true" for key in keys if key != "cuda_graphs"]
    assert deeprelax(*MADE, *said, "hydra.run.dir=whole")[::2] == (0, "")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20)
        assert deeprelax(*MADE, *said, "hydra.run.dir=made")[0] == 130
    as_from_a_gpu(Path("made"), *keys)
    status, out, err = deeprelax(*MADE, *said, "hydra.run.dir=made")
    assert (status, err) == (0, "")
    assert "resuming from pass" in out
    assert_same(Path("made"), Path("whole"))
