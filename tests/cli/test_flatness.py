"""Test `deeprelax flatness`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from deeprelax.optim import reestimate_batchnorm
from deeprelax.runs.restored import restored
from tests.cli.measured import LESS, LITTLE, found
from tests.quick import RUN, directory
from tests.tasks.test_runs import SHORT, TASKS

Command = Callable[..., tuple[int, str, str]]


def digests(folder: Path) -> dict[str, str]:
    """Of all files but flatness.json and flatness.png."""
    files = [file for file in folder.rglob("*") if file.is_file() and "flatness" not in file.name]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_of_one_run(deeprelax: Command) -> None:
    """All keys; the loss is that of 50 images, batches of 32 and 18; the run is as before; a second call reads."""
    assert deeprelax(*RUN, *LESS)[0] == 0
    folder = directory()
    before, state = digests(folder), torch.get_rng_state()
    few = [*LITTLE, "--gamma", "0.001,1", "--entropy-images", "8", "--gradients", "1000"]
    status, out, err = deeprelax("flatness", str(folder), *few)
    assert (status, err) == (0, "")
    assert digests(folder) == before
    assert torch.equal(torch.get_rng_state(), state)
    content = found(folder)
    run = restored(folder)
    statistics, model = run.task.statistics(2), run.model
    reestimate_batchnorm(model, (statistics.take(i) for i in range(2)))
    model.eval()
    images, labels = (torch.cat(each)[:50] for each in zip(*map(statistics.take, range(2)), strict=True))
    loss = nn.functional.cross_entropy(model(images), labels).item()
    assert content["loss"] == pytest.approx(loss, rel=1e-6)
    assert (content["images"], content["weights"], content["seed"], content["dropout"]) == (50, "last", 0, "off")
    assert content["batch_norm"] == "eval mode, re-estimated at these weights on 2 training batches"
    hessian = content["hessian"]
    assert hessian["eigenvalues"][0] > hessian["eigenvalues"][1] > hessian["lowest"]
    assert hessian["converged"]
    assert hessian["trace_interval"][0] < hessian["trace"] < hessian["trace_interval"][1]
    rises = content["sharpness"]
    assert rises["ball"]["value"] >= rises["sam"]["value"] > 0
    assert rises["filter"]["interval"][0] < rises["filter"]["value"] < rises["filter"]["interval"][1]
    assert [kind for kind, each in rises.items() if not each["invariant"]] == ["isotropic", "sam", "ball"]
    first, last = content["local_entropy"]
    assert (first["gamma"], first["temperature"], first["converged"]) == (0.001, 1 / 64, True)
    assert (last["gamma"], last["value"], last["converged"]) == (1.0, None, False)
    assert "it would take over 1000 gradients" in last["reason"]
    assert (folder / "flatness.png").stat().st_size > 10_000
    for line in ("Hessian top", "Gauss-Newton trace", "sharpness adaptive_linf", "local entropy 0.001"):
        assert f"\n  {line}" in out
    again = deeprelax("flatness", str(folder), *few)[1]
    assert again == out.replace("written to", "as they are in")
    assert deeprelax("flatness", str(folder), *few, "--only", "hessian")[1] == again  # which is there
    (folder / "flatness.png").unlink()
    assert deeprelax("flatness", str(folder), *few)[1] == out  # drawn of the numbers that are there
    assert (folder / "flatness.png").stat().st_size > 10_000


def test_parts_are_added_and_corrupt_numbers_are_no_obstacle(deeprelax: Command) -> None:
    assert deeprelax(*RUN, *LESS)[0] == 0
    folder, file = directory(), directory() / "flatness.json"
    words = ["flatness", str(folder), *LITTLE, "--only"]
    assert deeprelax(*words, "hessian")[0] == 0
    before = found(folder)
    assert deeprelax(*words, "gauss_newton")[0] == 0
    merged = found(folder)
    assert merged["hessian"] == before["hessian"]
    assert "gauss_newton" in merged
    assert merged["asked"]["parts"] == ["hessian", "gauss_newton"]
    assert "as they are in" in deeprelax(*words, "gauss_newton,hessian")[1]
    foreign = ["[1]", '{"asked": 3}', '{"loss": 1.0}', json.dumps(merged | {"density": {"nodes": 1}}),
               json.dumps(merged | {"hessian": {"eigenvalues": [1.0], "trace": 1.0}})]  # fmt: skip
    for text, *more in (["{"], ["{", "--again"], *([text] for text in foreign)):
        file.write_text(text)
        status, out, err = deeprelax(*words, "hessian", *more)
        told = [line for line in out.splitlines() if "corrupt" in line]
        assert (status, err, told) == (0, "", [] if more else [f"! {file} is corrupt, and is measured again"])
        assert found(folder)["hessian"] == before["hessian"]
    out = deeprelax(*words, "gauss_newton", "--seed", "1")[1]
    assert "flatness.json is of other weights or options, and is replaced" in out
    assert "hessian" not in found(folder)


def test_seeds_layers_precision_and_what_is_measured(deeprelax: Command) -> None:
    assert deeprelax(*RUN, *LESS)[0] == 0
    folder = directory()
    words = ["flatness", str(folder), *LITTLE, "--only", "hessian"]
    one, other = {}, {}
    for seed, content in (("0", one), ("1", other)):
        assert deeprelax(*words, "--seed", seed, "--dtype", "float64")[0] == 0
        content.update(found(folder)["hessian"])
    assert one["eigenvalues"] == pytest.approx(other["eigenvalues"], rel=0.01)
    assert one["trace"] != other["trace"]
    assert max(c["trace_interval"][0] for c in (one, other)) < min(c["trace_interval"][1] for c in (one, other))
    status, out, _ = deeprelax(*words, "--by", "layer", "--top", "1")
    content = found(folder)
    assert status == 0
    assert sum(each["parameters"] for each in content["layers"]) == content["parameters"] == 131_220
    assert max(each["eigenvalue"] for each in content["layers"]) <= 1.001 * content["hessian"]["eigenvalues"][0]
    assert one["eigenvalues"][0] == pytest.approx(content["hessian"]["eigenvalues"][0], rel=0.01)  # in float32
    assert "layer 0 " in out
    assert "sharpness" not in content
    assert not (folder / "flatness.png").exists()


def test_groups_and_ranks(deeprelax: Command) -> None:
    for optimizer in ("sgd", "heat"):
        for seed in ("1", "2"):
            assert deeprelax(*RUN, *LESS, f"optimizer={optimizer}", f"seed={seed}")[0] == 0
    words = ["flatness", "outputs", "--by", "optimizer", "--images", "32", "--top", "1", "--only", "hessian"]
    status, out, err = deeprelax(*words)
    assert (status, err) == (0, "")
    table = out[out.index("mean over n runs") :]
    assert table.splitlines()[0].split()[-2:] == ["heat", "sgd"]
    assert "Kendall's tau with test error over runs" in table
    assert "2302.07011" in table
    values = [found(file.parent)["hessian"]["trace"] for file in sorted(Path("outputs").rglob("flatness.json"))]
    assert len(set(values)) == 4
    assert "as they are in" in deeprelax(*words)[1]  # nothing is measured twice
    out = deeprelax("compare", "outputs")[1]
    assert "lambda_max" in out
    groups = json.loads(Path("outputs/compare/table.json").read_text())["tables"][0]["groups"]
    assert groups[0]["flatness"].keys() == {"Hessian top", "Hessian trace"}
    assert sum(group["flatness"]["Hessian trace"] for group in groups) == pytest.approx(sum(values) / 2)
    next(Path("outputs").rglob("flatness.json")).write_text("{")
    assert deeprelax("compare", "outputs")[0] == 0


def test_what_cannot_be_measured_is_said_in_a_sentence(deeprelax: Command) -> None:
    assert deeprelax(*RUN, *LESS)[0] == 0
    run = str(directory())
    for words, message in [
        (["nowhere"], "nowhere is not a folder: give one that holds runs, as outputs does"),
        ([run, "--images", "65"], "--images 65 is out of range: it must be an integer from 1 to 64, the run's training "
         "images"),
        ([run, "--images", "0"], "--images 0 is out of range: it must be an integer of 1 or more"),
        ([run, "--top", "200000", "--images", "8"], "k=200000 is out of range: it must be an integer from 1 to "
         "1024, for more than 4096 parameters"),
        ([run, "--only", "hessain"], "--only hessain is none of hessian, gauss_newton, density, sharpness, "
         "local_entropy (did you mean hessian?)"),
        ([run, "--gamma", "a"], "--gamma a cannot be read: give positive numbers, as 0.01,0.1,1"),
        ([run, "--temperature", "-1"], "--temperature -1 is out of range: it must be a finite number >= 0"),
        ([run, "epochs=3"], "epochs cannot be set here: it may be data_dir, dataset.path, hardware.device, "
         "hardware.channels_last, hardware.threads"),
    ]:  # fmt: skip
        status, _, err = deeprelax("flatness", *words)
        assert (status, err.splitlines()[0].split(" (did")[0]) == (1, f"deeprelax: {message}".split(" (did")[0])
    short = ["task=estimation", *TASKS["estimation"], "optimizer=sgd", "optimizer.lr=0.02", "output_dir=e"]
    assert deeprelax("train", *SHORT, *short)[0] == 0
    status, _, err = deeprelax("flatness", str(directory("e")))
    assert (status, err.startswith("deeprelax: the loss of task=estimation is no mean over examples")) == (1, True)
    # of several runs the others are measured all the same
    status, out, err = deeprelax("flatness", run, "e", "--images", "8", "--top", "1", "--only", "hessian")
    assert status == 1
    assert "Hessian trace" in out
    assert "1 of 2 runs could not be measured" in err
