"""What must be the same for a run to resume, and what is said where it is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from deeprelax.data.batches import Images
from deeprelax.errors import UserError
from tests.data.fakes import write_images
from tests.hooks import interrupt_at
from tests.quick import RUN, train

Compose = Callable[..., DictConfig]


def test_other_training_data_are_noticed_on_resume(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ["optimizer=sgd", "train.checkpoint_every=1"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20)
        with pytest.raises(KeyboardInterrupt):
            train(compose, tmp_path, *overrides)
    monkeypatch.setattr(Images, "digest", lambda self: "changed")
    with pytest.raises(UserError, match=r"the data are not those that .* began with: put them back"):
        train(compose, tmp_path, *overrides)


Command = Callable[..., tuple[int, str, str]]


def test_a_run_cannot_continue_from_itself(deeprelax: Command) -> None:
    assert deeprelax(*RUN, "hydra.run.dir=here", "epochs=1")[0] == 0
    command = [*RUN, "hydra.run.dir=here", "epochs=2", "continue_from=here", "force=true"]
    assert "is not the directory of a run" in deeprelax(*command)[2]
    assert (Path("here") / "result.json").is_file()


def test_other_test_images_are_noticed_on_resume(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(Path("folder"))
    run = [*RUN, "dataset=image_folder", "dataset.path=folder", "dataset.train_size=null", "train.checkpoint_every=1"]
    run += ["dataset.image_size=28", "batch_size=4"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        assert deeprelax(*run)[0] == 130
    sorted(file for file in (Path("folder") / "test").rglob("*") if file.is_file())[0].unlink()
    status, _, err = deeprelax(*run)
    assert status == 1
    assert "the data are not those that " in err


def test_what_changes_on_resume_and_a_schedule_that_never_acts_are_told(
    deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = [*RUN, "schedule=step", "schedule.milestones=[50,60]", "schedule.factor=0.1", "train.checkpoint_every=1"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20)
        status, out, _ = deeprelax(*run)
    assert status == 130
    assert "schedule.milestones begin at 50, beyond epochs=6: the lr never changes" in out
    assert "2 threads, not 1 as before: no longer bit for bit the same run" in deeprelax(*run, "hardware.threads=2")[1]
    torch.set_num_threads(1)
