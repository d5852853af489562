"""Test `deeprelax.load_model`: a run's network with all that it needs, without its data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

import deeprelax
from deeprelax.commands.evaluate import evaluate
from deeprelax.data.sources import digits
from deeprelax.errors import UserError
from deeprelax.records import checkpoint
from deeprelax.runs.inference import Classifier
from tests.hooks import interrupt_at
from tests.quick import contents, train

Compose = Callable[..., DictConfig]
NETWORK = """
from torch import nn

class Mine(nn.Sequential):
    def __init__(self, channels, image_size, classes, width):
        super().__init__(nn.Flatten(), nn.Linear(channels * image_size**2, width), nn.ReLU(), nn.Linear(width, classes))
"""
SMALL = ["model=mlp", "dataset.image_size=8", "dataset.train_size=null", "epochs=0.5"]


def test_images(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    split = digits.load_digits(Path(), size).test
    return split.images, split.labels


test_images.__test__ = False  # type: ignore[attr-defined]


def no_data(patch: pytest.MonkeyPatch) -> None:
    def load(*arguments: object, **keywords: object) -> None:
        raise AssertionError("the data set was read")

    patch.setattr(digits, "load_digits", load)


@pytest.mark.parametrize(
    ("overrides", "size"),
    [
        (["model=lenet", "epochs=1"], 28),  # batch norm and dropout
        ([*SMALL, "dataset.normalize=gcn_zca"], 8),
        ([*SMALL, "dataset.normalize=none"], 8),
        ([*SMALL, "model=custom", "model.name=own_net:Mine", "+model.options.width=7"], 8),
    ],
)
def test_it_returns_what_evaluate_scores(
    overrides: list[str], size: int, compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_net.py").write_text(NETWORK)
    images, labels = test_images(size)
    result = train(compose, tmp_path / "run", "optimizer=sgd", *overrides)
    no_data(monkeypatch)
    model = deeprelax.load_model(tmp_path / "run")
    assert not model.training
    assert model.classes == [str(digit) for digit in range(10)]
    with torch.inference_mode():
        probabilities = model(images)
        log_p = model.log_probabilities(images).double()
    assert probabilities.shape == (360, 10)
    assert torch.allclose(probabilities.sum(1), torch.ones(360))
    assert 100 * (probabilities.argmax(1) != labels).double().mean().item() == pytest.approx(result["test_error"])
    assert torch.nn.functional.nll_loss(log_p, labels).item() == pytest.approx(result["test_loss"], rel=1e-4)
    weights, *_ = contents(tmp_path / "run")
    assert all(torch.equal(weights[key], value) for key, value in model.network.state_dict().items())
    described = json.loads((tmp_path / "run" / "model.json").read_text())
    assert (described["channels"], described["image_size"], described["training_images"]) == (
        1,
        size,
        result["training_images"],
    )
    whole = checkpoint.load(tmp_path / "run" / "checkpoint.pt")["inference"]
    assert described["normalization"].keys() == whole["normalization"].keys()


def test_a_run_of_an_older_version_is_read_by_its_configuration_and_data(compose: Compose, tmp_path: Path) -> None:
    run, overrides = tmp_path / "run", ["optimizer=sgd", "epochs=1"]
    result = train(compose, run, *overrides)
    images, _ = test_images(28)
    expected = deeprelax.load_model(run)(images)
    state = checkpoint.load(run / "checkpoint.pt")
    del state["inference"]
    checkpoint.save(run, state)
    (run / "model.json").unlink()
    assert torch.equal(deeprelax.load_model(str(run))(images), expected)
    assert evaluate(run, [])["test_loss"] == result["test_loss"]
    (run / "result.json").unlink()
    assert train(compose, run, *overrides)["test_loss"] == result["test_loss"]  # it resumes
    assert (run / "model.json").exists()


def test_random_weights_are_averaged_over_the_same_draws_each_time(compose: Compose, tmp_path: Path) -> None:
    run = tmp_path / "run"
    overrides = ["experiment=sde_bnn_digits", "optimizer=adamw", "task.paths=8", "dataset.image_size=8", "epochs=1"]
    result = train(compose, run, *overrides)
    model = deeprelax.load_model(run)
    images, labels = test_images(8)
    state = torch.random.get_rng_state()
    with torch.inference_mode():
        found = model(images)
        torch.rand(3)
        assert torch.equal(model(images), found)
        assert torch.allclose(model(images[:7]), found[:7], atol=1e-6)  # whatever the company
    torch.random.set_rng_state(state)
    assert torch.allclose(found.sum(1), torch.ones(360), atol=1e-5)
    one = Classifier(
        model.network, model.classes, model.shape, {"shift": model.shift, "scale": model.scale}, 1, model.seed
    )
    assert not torch.allclose(one(images), found, atol=1e-3)  # else there is nothing to average
    # another eight draws than evaluation's, on 360 images
    assert 100 * (found.argmax(1) != labels).double().mean().item() == pytest.approx(result["test_error"], abs=5)
    matrix = torch.tensor(result["test_confusion"])
    assert 100 * (1 - matrix.diagonal().sum().item() / 360) == pytest.approx(result["test_error"])


def test_an_unfinished_run_is_told_of(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 10)
        with pytest.raises(KeyboardInterrupt):
            train(compose, tmp_path, "optimizer=sgd", "train.evaluate_every=100", "train.checkpoint_every=1")
    deeprelax.load_model(tmp_path)
    assert "is not finished: batch-norm statistics" in caplog.text


def test_what_cannot_be_loaded_is_said_in_a_sentence(compose: Compose, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere is not a directory: give the directory of a run"):
        deeprelax.load_model("nowhere")
    with pytest.raises(UserError, match=r"checkpoint.pt is not there: the run has reached no checkpoint yet"):
        deeprelax.load_model(tmp_path)
    train(compose, tmp_path / "fit", "task=diagonal", "optimizer=sgd", "dataset.train_size=null")
    with pytest.raises(UserError, match="a run of task=diagonal, which classifies no images"):
        deeprelax.load_model(tmp_path / "fit")
    assert not (tmp_path / "fit" / "model.json").exists()


def test_images_of_another_kind_are_refused() -> None:
    model = Classifier(
        torch.nn.Flatten(), ["a"], (1, 2, 2), {"shift": torch.zeros(1, 1, 1), "scale": torch.ones(1, 1, 1)}
    )
    for wrong in (
        torch.zeros(3, 1, 2, 2),
        torch.zeros(3, 3, 2, 2, dtype=torch.uint8),
        torch.zeros(3, 4, dtype=torch.uint8),
    ):
        with pytest.raises(ValueError, match=r"takes uint8 images of shape \(N, 1, 2, 2\), not (float32|uint8) \("):
            model(wrong)
    with pytest.raises(AttributeError, match="module deeprelax has no attribute load_modle"):
        deeprelax.load_modle  # noqa: B018
