"""Test `hardware.channels_last`: images and weights in torch's fast memory format, or in the one that `.view` wants."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from deeprelax.configuration.check import checked
from deeprelax.errors import UserError
from deeprelax.parallel.ranks import SOLO
from deeprelax.records.directory import RunDirectory
from deeprelax.runs.build import build_model, build_task
from deeprelax.runs.failures import views_explained
from deeprelax.training.share import Share
from tests.quick import QUICK, contents, directory, train

Command = Callable[..., tuple[int, str, str]]
Compose = Callable[..., DictConfig]
NET = """import torch
class Net(torch.nn.Module):
    def __init__(self, channels, image_size, classes, view=True):
        super().__init__()
        self.convolution = torch.nn.Conv2d(channels, 4, 5, stride=2)
        self.linear = torch.nn.Linear(4 * ((image_size - 5) // 2 + 1) ** 2, classes)
        self.view = view
    def forward(self, x):
        x = self.convolution(x)
        return self.linear(x.view(len(x), -1) if self.view else x.flatten(1))
"""
OWN = ["model=custom", "model.name=viewing:Net", "optimizer=sgd", "epochs=1"]
OFF = "hardware.channels_last=false"
SENTENCE = re.compile(
    r"deeprelax: hardware\.channels_last=true, but a \.view \(.*viewing\.py, line 10\) cannot take that memory format: "
    r"write \.reshape or \.flatten in its place, or set hardware\.channels_last=false\n"
)


@pytest.fixture(autouse=True)
def _viewing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "viewing.py").write_text(NET)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize("dataset", [[], ["dataset.name=viewing_data:load"]], ids=["grey", "colour"])
def test_a_network_that_calls_view_gets_a_sentence_and_trains_without(
    dataset: list[str], deeprelax: Command, tmp_path: Path
) -> None:
    (tmp_path / "viewing_data.py").write_text(
        "import torch\n"
        "from deeprelax.data.images import ImageData, Split\n"
        "def load(data_dir):\n"
        "    images = torch.randint(256, (300, 3, 12, 12), generator=torch.Generator().manual_seed(0)).byte()\n"
        "    part = Split(images, torch.arange(300) % 10)\n"
        "    return ImageData(part, part, tuple('0123456789'))\n"
    )
    run = ["train", *QUICK, *OWN, *(["dataset=custom"] if dataset else []), *dataset]
    status, _, err = deeprelax(*run)
    assert status == 1
    assert SENTENCE.fullmatch(err)
    assert deeprelax(*run, OFF, "dataset.augment=flip_crop")[::2] == (0, "")
    assert deeprelax(*run, OFF, "hardware.precision=bfloat16")[::2] == (0, "")


def test_evaluate_and_bench_say_the_same(deeprelax: Command, tmp_path: Path) -> None:
    assert deeprelax("train", *QUICK, *OWN, "model.options.view=false")[0] == 0
    run = directory()
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("view: false", "view: true"))
    status, _, err = deeprelax("evaluate", str(run))
    assert status == 1
    assert SENTENCE.fullmatch(err)
    status, out, err = deeprelax("evaluate", str(run), OFF)
    assert (status, err) == (0, "")
    assert "test_error" in out
    bench = ["bench", *OWN[:2], "only=[sgd]", "yardsticks=false", "whole_run=null", "repeats=1", "evaluations=1"]
    bench += ["hardware.threads=1", "hardware.device=cpu", "dataset.train_size=100", "batch_size=10"]
    status, _, err = deeprelax(*bench)
    assert status == 1
    assert SENTENCE.fullmatch(err)
    status, out, _ = deeprelax(*bench, OFF)
    assert status == 0
    assert "floor: one bare forward and backward pass, " in out


def test_any_other_error_keeps_its_traceback(compose: Compose) -> None:
    words = "view size is not compatible with input tensor's size and stride (...). Use .reshape(...) instead."
    on, off = (checked(compose(*each)).hardware for each in ([], [OFF]))
    with pytest.raises(RuntimeError, match="view size"), views_explained(off):
        raise RuntimeError(words)
    with pytest.raises(RuntimeError, match="of another kind"), views_explained(on):
        raise RuntimeError("of another kind")
    by_the_compiler = "got ValueError('Cannot view a tensor with shape torch.Size([2, 4]) and strides (1, 2) as ...')"
    for text in (words, by_the_compiler):
        with pytest.raises(UserError, match=r"channels_last=false$"), views_explained(on):
            raise RuntimeError(text)


@pytest.mark.parametrize("normalize", ["mean_std", "gcn_zca"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_images_and_weights_have_the_strides_of_their_format(
    channels_last: bool, normalize: str, compose: Compose
) -> None:
    conf = checked(
        compose(*QUICK, "dataset.train_size=null", "dataset.image_size=22", f"hardware.channels_last={channels_last}",
                f"dataset.normalize={normalize}")
    )  # fmt: skip
    cpu = torch.device("cpu")
    task = build_task(conf, cpu, Share(SOLO))
    size = conf.dataset.image_size
    assert size is not None
    for images in (
        task.make(*task.draw(0))[0],
        *(chunks.take(0)[0] for chunks in (*task.splits().values(), task.statistics(1))),
    ):
        if channels_last:
            assert images.is_contiguous(memory_format=torch.channels_last)
        else:  # by its strides, for grey images are contiguous in both formats, and convolutions go by the strides
            assert images.stride() == (size**2, size**2, size, 1)
    model = build_model(conf.model, task, 0, cpu, channels_last=channels_last)
    weights = [p for p in model.parameters() if p.ndim == 4 and p.shape[1] > 1]
    assert weights
    assert all(p.is_contiguous() is not channels_last for p in weights)


def test_the_format_changes_the_numbers_so_it_is_part_of_a_runs_name_and_configuration(
    compose: Compose, deeprelax: Command, tmp_path: Path
) -> None:
    few = ["epochs=1", "optimizer=sgd", "optimizer.lr=0.01", "model.dropout=0"]  # dropout draws in the memory's order
    found = [train(compose, tmp_path / name, *few, f"hardware.channels_last={name}") for name in ("true", "false")]
    assert found[0]["test_loss"] == pytest.approx(found[1]["test_loss"], rel=1e-4)
    weights, others = (contents(tmp_path / name)[0] for name in ("true", "false"))
    assert not all(torch.equal(weights[key], others[key]) for key in weights)
    with pytest.raises(UserError, match=r"hardware\.channels_last is True there and False here"):
        train(compose, tmp_path / "true", *few, OFF)
    assert deeprelax("train", *QUICK, *few, OFF)[0] == 0
    assert "hardware.channels_last-False" in str(directory())


def test_a_run_made_before_there_was_the_key_is_read(deeprelax: Command) -> None:
    run = ["train", *QUICK, "optimizer=sgd", "epochs=1"]
    assert deeprelax(*run)[0] == 0
    files = RunDirectory(directory())
    text = files.config.read_text()
    assert "  channels_last: true\n" in text
    files.config.write_text(text.replace("  channels_last: true\n", ""))
    assert deeprelax("evaluate", str(files.path))[1].endswith("as in result.json\n")
    assert "finished before" in deeprelax(*run)[1]
