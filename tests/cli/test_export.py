"""Test `deeprelax export`: what other programs read is what the run's network returns."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import deeprelax as library
from deeprelax.errors import UserError
from deeprelax.runs import export as exporting
from deeprelax.runs.inference import Classifier
from tests.quick import RUN, directory

Command = Callable[..., tuple[int, str, str]]
MISSING = [name for name in exporting.NEEDED if importlib.util.find_spec(name) is None]
NORMALIZATION = {"shift": torch.zeros(1, 1, 1), "scale": torch.full((1, 1, 1), 1 / 255)}


@pytest.fixture
def run(deeprelax: Command) -> str:
    """LeNet: batch norm, dropout."""
    assert deeprelax(*RUN, "epochs=1")[0] == 0
    return str(directory())


@pytest.mark.filterwarnings("default")  # torch's own, of what it will do some day
def test_what_is_written_returns_the_same_for_any_number_of_images(run: str, deeprelax: Command) -> None:
    status, out, err = deeprelax("export", run, "net.pt2")
    assert (status, err) == (0, "")
    assert out.startswith("net.pt2: uint8 (N, 1, 28, 28) to probabilities (N, 10); read again and compared on ")
    extra = {exporting.CLASSES: ""}
    module = torch.export.load("net.pt2", extra_files=extra).module()
    model = library.load_model(run)
    assert json.loads(extra[exporting.CLASSES]) == model.classes
    images = torch.randint(256, (17, 1, 28, 28), dtype=torch.uint8)
    with torch.inference_mode():
        for n in (1, 4, 17):
            assert torch.allclose(module(images[:n]), model(images[:n]), atol=1e-6)


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
@pytest.mark.filterwarnings("default")
def test_onnx_returns_the_same(run: str, deeprelax: Command) -> None:
    import onnxruntime

    status, out, err = deeprelax("export", run, "net.onnx")
    assert (status, err) == (0, "")
    assert out.startswith("net.onnx: uint8 (N, 1, 28, 28) to probabilities (N, 10); read again and compared on ")
    session = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    model = library.load_model(run)
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == model.classes
    images = torch.randint(256, (17, 1, 28, 28), dtype=torch.uint8)
    with torch.inference_mode():
        for n in (1, 17):
            (found,) = session.run(["probabilities"], {"images": images[:n].numpy()})
            assert torch.allclose(torch.from_numpy(found), model(images[:n]), atol=1e-5)


def test_what_cannot_be_exported_is_said_in_a_sentence(
    run: str, deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: None if name == "onnxscript" else found(name, *rest)
    )
    absent = ", ".join(dict.fromkeys(name for name in exporting.NEEDED if name in (*MISSING, "onnxscript")))
    for words, message in [
        ([run, "a.txt"], "a.txt ends in neither .pt2 (torch.export) nor .onnx: give a name that does"),
        ([run, "a.onnx"], f"a.onnx needs {absent}, not installed: pip install 'deeprelax[export]', or give a name"),
        ([run, "no/a.pt2"], "no/a.pt2: there is no folder no: make it first"),
        (["nowhere", "a.pt2"], "nowhere is not a directory: give the directory of a run"),
        ([run], "the following arguments are required: FILE: see deeprelax export --help"),
    ]:
        status, out, err = deeprelax("export", *words)
        assert (status, out, err.count("\n")) == (1, "", 1), err
        assert err.startswith(f"deeprelax: {message}")
    assert not list(Path().glob("a.*"))


class Branching(torch.nn.Module):
    """What no tracer can follow."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) if images.sum().item() > 0 else -images.flatten(1)


@pytest.mark.filterwarnings("default")
def test_a_network_that_torch_cannot_follow_is_named() -> None:
    model = Classifier(Branching(), list("abcd"), (1, 2, 2), NORMALIZATION).eval()
    with pytest.raises(UserError, match="torch cannot export Branching"):
        exporting.export(model, Path("a.pt2"))
    random = Classifier(torch.nn.Flatten(), list("abcd"), (1, 2, 2), NORMALIZATION, draws=2)
    with pytest.raises(UserError, match=r"drawn at each call \(task=bayesian\) is not exported"):
        exporting.export(random, Path("a.pt2"))
    assert not Path("a.pt2").exists()


@pytest.mark.filterwarnings("default")
def test_a_file_that_returns_something_else_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Classifier(torch.nn.Flatten(), list("abcd"), (1, 2, 2), NORMALIZATION).eval()
    written = exporting._pt2

    def wrong(model: Classifier) -> object:
        content, run = written(model)
        return content, lambda images: run(images) + 0.01

    Path("a.pt2").write_text("before")
    monkeypatch.setattr(exporting, "_pt2", wrong)
    with pytest.raises(UserError, match=r"a.pt2 is not written: read again, its probabilities differ by 0\.01"):
        exporting.export(model, Path("a.pt2"))
    assert Path("a.pt2").read_text() == "before"
