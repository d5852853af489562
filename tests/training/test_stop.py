"""A stop at a bad moment: within an evaluation, before it, after the last step."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from deeprelax.parallel import signals
from deeprelax.parallel.ranks import Ranks
from deeprelax.parallel.signals import Requests
from deeprelax.records import checkpoint
from deeprelax.tasks import classification
from deeprelax.training.cadence import Due
from deeprelax.training.stop import Stop
from tests.hooks import before
from tests.quick import RUN, assert_same, directory

Command = Callable[..., tuple[int, str, str]]


def signal_in_evaluation(patch: pytest.MonkeyPatch, number: int, at_chunk: int) -> None:
    """Send this process a signal when a chunk of images is about to be scored, counted over the whole run."""
    original, chunks = classification.Classification.sums, iter(range(10**6))

    def sums(*arguments: Any) -> torch.Tensor:
        if next(chunks) == at_chunk:
            os.kill(os.getpid(), number)
        return original(*arguments)

    patch.setattr(classification.Classification, "sums", sums)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_last_evaluation_lets_the_job_finish_and_ends_the_sweep(
    number: int, deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_in_evaluation(monkeypatch, number, 0)
    status, _, err = deeprelax(*RUN, "-m", "seed=0,1,2", "epochs=1")
    assert status == 128 + number
    assert f"stopped by {signal.Signals(number).name}; to resume: deeprelax train " in err
    assert [file.parent.name for file in Path("outputs").rglob("result.json")] == ["seed-0"]


@pytest.mark.parametrize("at_chunk", [0, 1])
def test_an_evaluation_is_aborted_for_a_stop_and_made_on_resume(
    at_chunk: int, deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = [*RUN, "train.evaluate_every=3", "dataset.validation=50", "dataset.train_size=100"]
    monkeypatch.setattr(classification, "CHUNK", 100)
    with monkeypatch.context() as patch:
        patch.setattr(signals, "PATIENCE", 0.0)
        signal_in_evaluation(patch, signal.SIGTERM, at_chunk)
        assert deeprelax(*run)[0] == 143
    saved = checkpoint.load(directory() / checkpoint.NAME)
    assert saved["unevaluated"]
    assert saved["scores"] == {}
    assert deeprelax(*run)[0] == 0
    assert deeprelax(*run, "output_dir=whole")[0] == 0
    assert_same(directory(), directory("whole"))


def test_a_stop_asked_for_before_an_evaluation_does_not_wait_for_it(
    deeprelax: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        before(patch, 36, lambda objective: os.kill(os.getpid(), signal.SIGTERM))  # in the last step
        assert deeprelax(*RUN)[0] == 143
    assert checkpoint.load(directory() / checkpoint.NAME)["unevaluated"]
    assert not (directory() / "result.json").exists()
    assert deeprelax(*RUN)[0] == 0
    assert deeprelax(*RUN, "output_dir=whole")[0] == 0
    assert_same(directory(), directory("whole"))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_checkpoint_by_the_clock_of_one_rank_is_one_of_all(device: str) -> None:
    """Or the main rank alone would look for weights that are not finite, and stop alone."""
    ranks = [Stop(Requests(), Ranks(i, 2, 0, 2), torch.device("cpu")) for i in range(2)]
    step, record = Due(record=False, evaluate=False, save=False), Due(record=True, evaluate=False, save=False)
    for stop in ranks:
        stop._on_cpu = device == "cpu"  # else the host would wait for the device, which it does at records alone
    for save in (False, True):
        for rank, stop in enumerate(ranks):
            stop.announce(save=save and rank == 0)
        mean = (ranks[0].flags + ranks[1].flags) / 2  # what the step's all-reduce leaves
        for stop in ranks:
            stop.flags.copy_(mean)
        own = [save, False]  # by their clocks
        assert [stop.with_checkpoint(record, now).save for stop, now in zip(ranks, own, strict=True)] == [save] * 2
        between = [stop.with_checkpoint(step, now).save for stop, now in zip(ranks, own, strict=True)]
        assert between == [save and device == "cpu"] * 2
        assert not any(stop.agreed(record) for stop in ranks)
