"""Two ranks on gloo, one thread each: what they compute."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from deeprelax.parallel import launch
from deeprelax.parallel.ranks import SOLO
from tests.quick import QUICK

from . import rank_job as job

Command = Callable[..., tuple[int, str, str]]
TWO = [*QUICK, "hardware.devices=2"]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks found."""
    folder = tmp_path_factory.mktemp("ranks")
    launch.launch([sys.executable, "-W", "ignore", str(Path(job.__file__)), str(folder)], 2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_weights_are_equal_on_all_ranks_after_50_steps(two: list[dict[str, Any]]) -> None:
    assert len(two[0]["weights"]) == len(job.TRAINED) + len(job.CHAINS)
    for key, weights in two[0]["weights"].items():
        assert torch.isfinite(weights).all(), key
        assert torch.equal(weights, two[1]["weights"][key]), key


@pytest.mark.parametrize("optimizer", job.TRAINED)
def test_two_ranks_follow_one_with_the_whole_batch(optimizer: str, two: list[dict[str, Any]]) -> None:
    alone = job.descend(job.Plain, optimizer, "data", 20, SOLO)
    torch.testing.assert_close(two[0]["plain"][optimizer], alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("optimizer", job.CHAINS)
def test_chains_average_d_in_one_all_reduce(optimizer: str, two: list[dict[str, Any]]) -> None:
    torch.set_num_threads(1)  # as the ranks have: the number changes rounding
    found = [rank["chains"][optimizer] for rank in two]
    for chains in found:
        assert chains["all_reduces"] == [4 * (len(chains["d"]) + 3)]  # d, loss and two flags in float32
        assert chains["traffic"] == sum(chains["all_reduces"])
        assert chains["flags"].tolist() == [0.0, 0.5]
    single = [job.one_chain(optimizer, chain) for chain in (0, 1)]
    assert not torch.allclose(single[0], single[1])
    assert torch.equal(found[0]["d"], (single[0] + single[1]) / 2)
    assert torch.equal(found[0]["d"], found[1]["d"])
    assert not torch.allclose(found[0]["own"], found[1]["own"])  # the chains still differ after loading


def test_a_small_network_is_averaged_in_one_all_reduce_to_the_bits_of_torchs(two: list[dict[str, Any]]) -> None:
    parameters = 3 * 4 * 9 + 4 + 4 + 4 + 144 * 5 + 5  # the unused three have no gradient
    for rank in two:
        flat, ddp = rank["averaged"]["flat"], rank["averaged"]["ddp"]
        assert flat["calls"] == [4 * (parameters + 3)] * 2  # one a gradient, of float32: with the loss and two flags
        assert flat["traffic"] == sum(flat["calls"])
        assert ddp["traffic"] == 2 * 4 * (parameters + 3)  # torch sends the unused three, and the loss goes by itself
        assert (flat["step"], ddp["step"]) == (False, True)
        assert torch.equal(flat["gradient"], ddp["gradient"])
        assert torch.equal(flat["gradient"], two[0]["averaged"]["flat"]["gradient"])
        assert flat["flags"].tolist() == [0.0, 0.5]  # raised by rank 1, seen by both
        own = [other["averaged"]["ddp"]["losses"] for other in two]
        assert torch.equal(flat["losses"], (own[0] + own[1]) / 2)
        assert not torch.equal(own[0], own[1])


def test_frozen_parameters_and_groups_on_two_ranks(two: list[dict[str, Any]]) -> None:
    before = dict(job.make(job.Plain).named_parameters())
    alone = job.partly_frozen("data", SOLO)
    for share in ("data", "chains"):
        mine, others = (rank["frozen"][share] for rank in two)
        for name, p in mine.items():
            assert torch.equal(p, others[name]), name
            assert torch.equal(p, before[name]) == (name == "0.bias"), name
            if share == "data":
                torch.testing.assert_close(p, alone[name], rtol=0, atol=1e-10)


def test_evaluation_counts_every_image_once_and_does_not_depend_on_the_ranks(two: list[dict[str, Any]]) -> None:
    assert two[0]["scores"] == two[1]["scores"] == job.evaluated(SOLO)


@pytest.mark.parametrize("share", [pytest.param("data", marks=pytest.mark.slow), "chains"])
def test_both_ways_of_sharing_train_and_write_one_run(share: str, deeprelax: Command) -> None:
    status, out, err = deeprelax("train", *TWO, "epochs=3", "optimizer.inner_steps=3", f"hardware.share={share}")
    assert (status, err) == (0, "")
    assert out.count("run directory") == 1
    assert len(re.findall(r"^pass ", out, re.MULTILINE)) == 1
    assert out.count("gradient evaluations  ") == 1
    (directory,) = (file.parent for file in Path("outputs").rglob("result.json"))
    result = json.loads((directory / "result.json").read_text())
    assert (result["ranks"], result["gradient_evaluations"]) == (2, 18)
    assert len(list((directory / "tensorboard").iterdir())) == 1
    assert "test error" in (directory / "train.log").read_text()
    assert deeprelax("evaluate", str(directory))[1].endswith("as in result.json\n")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["batch_size=33"], "batch_size=33 cannot be shared equally by 2 ranks: use a multiple of it"),
        (["optimizer=sgd", "hardware.share=chains"], "hardware.share=chains needs an inner chain, and sgd has none: "),
        (["hardware.devices=1000", "batch_size=1000"], "1000 ranks on this machine, which has"),
        (["hardware.devices=0"], "hardware.devices=0 is out of range: it must be an integer >= 1 or all"),
        (["hardware.device=cuda"], "hardware.device=cuda, but torch sees no GPU"),
        (["hardware.sync_batchnorm=true"], "hardware.sync_batchnorm=true works on GPUs only"),
    ],
)
def test_what_cannot_be_shared_is_said_in_a_sentence(overrides: list[str], message: str, deeprelax: Command) -> None:
    if "cuda" in message and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    status, _, err = deeprelax("train", *TWO, *overrides)
    assert status == 1
    assert err.startswith(f"deeprelax: {message}")
    assert err.count("\n") == 1


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("share", ["data", "chains"])
def test_two_gpus(share: str, deeprelax: Command) -> None:
    two = [*TWO, "hardware.device=cuda"]
    status, _, err = deeprelax("train", *two, "epochs=3", "optimizer.inner_steps=3", f"hardware.share={share}")
    assert (status, err) == (0, "")
    (result,) = (json.loads(file.read_text()) for file in Path("outputs").rglob("result.json"))
    assert result["ranks"] == 2
    assert result["device"].startswith("cuda")
