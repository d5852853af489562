"""How a rank meets its peers and parts from them, without any."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from omegaconf import DictConfig

from deeprelax import cli
from deeprelax.configuration.check import checked
from deeprelax.errors import LeftAlone, PeersLostError, Stopped, UserError
from deeprelax.parallel import ranks as ranks_module
from deeprelax.parallel.launch import _raise_first_error
from deeprelax.parallel.ranks import Ranks
from deeprelax.runs import peers
from deeprelax.runs.peers import joined, joined_by_torchrun, loss_explained
from tests.quick import QUICK

CPU, TWO = torch.device("cpu"), Ranks(0, 2, 0, 2)
Compose = Callable[..., DictConfig]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What torch is asked to do when a rank meets its peers, and what it was set to then."""
    found: list[tuple[str, Any]] = []

    def init(backend: str, **options: Any) -> None:
        found.append(("init", options | {"deterministic": torch.are_deterministic_algorithms_enabled()}))

    monkeypatch.setattr(dist, "init_process_group", init)
    monkeypatch.setattr(dist, "broadcast_object_list", lambda box: None)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: found.append(("destroy", None)))
    return found


@pytest.mark.parametrize("deterministic", [False, True])
def test_deterministic_kernels_and_a_long_patience_are_there_before_the_group(
    deterministic: bool, calls: list[tuple[str, Any]], compose: Compose
) -> None:
    """torch reads the first when it makes NCCL's group; NCCL's own patience is 10 minutes."""
    conf = checked(compose(*QUICK, f"deterministic={deterministic}"))
    with joined(conf, TWO, CPU, dist.HashStore()):
        assert torch.are_deterministic_algorithms_enabled() is deterministic
    assert not torch.are_deterministic_algorithms_enabled()
    (_, options), last = calls
    assert options["deterministic"] is deterministic
    assert options["timeout"] == timedelta(minutes=30)
    assert last == ("destroy", None)


@pytest.mark.parametrize("error", [UserError("mine"), KeyError("ours"), Stopped(15)])
@pytest.mark.parametrize("others", ["gone on", "ended too"])
def test_a_rank_parts_after_an_error_only_if_all_have_one(
    error: BaseException, others: str, calls: list[tuple[str, Any]], compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = dist.HashStore()
    monkeypatch.setattr(peers, "join", lambda ranks, device, given: store)
    monkeypatch.setattr(ranks_module, "PARTING", timedelta(seconds=0.2))
    if others == "ended too":
        store.set("ended/1", "")
    expected = LeftAlone if others == "gone on" else type(error)
    with pytest.raises(expected) as raised, joined_by_torchrun(checked(compose(*QUICK)), TWO, CPU):
        raise error
    assert calls == ([] if others == "gone on" else [("destroy", None)])
    assert raised.value is error or raised.value.error is error


def test_what_an_earlier_start_left_in_the_store_counts_for_nothing(
    calls: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchrun keeps the store where a machine comes or goes, and does not count that start."""
    kept = dist.HashStore()
    monkeypatch.setattr(ranks_module, "PARTING", timedelta(seconds=0.2))
    for _ in range(2):
        monkeypatch.setattr(ranks_module, "_meetings", itertools.count())  # a new process
        store = ranks_module.join(TWO, CPU, kept)
        assert store is not None
        assert not ranks_module.all_ended(TWO, store)
        store.set("ended/1", "")
        assert ranks_module.all_ended(TWO, store)


def test_a_lost_connection_is_a_sentence_and_nobody_is_waited_for(
    calls: list[tuple[str, Any]], compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = dist.HashStore()
    monkeypatch.setattr(peers, "join", lambda ranks, device, given: store)
    with pytest.raises(LeftAlone) as raised, joined_by_torchrun(checked(compose(*QUICK)), TWO, CPU):
        raise RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [::1]")
    assert isinstance(raised.value.error, PeersLostError)
    assert "rank 0 lost its peers" in str(raised.value.error)
    assert store.num_keys() == 0
    assert calls == []


NCCL = "NCCL error in: NCCLUtils.cpp:77, {0}, NCCL version 2.27.5\n{1}\nLast error:\n{2}"
DUPLICATE = NCCL.format("invalid usage", "ncclInvalidUsage: as it says.", "Duplicate GPU detected : ranks 0 and 1")
GONE = NCCL.format("remote process exited or there was a network error", "ncclRemoteError: as it says.", "socket")


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        (
            DUPLICATE,
            UserError,
            "rank 0: NCCL failed (Duplicate GPU detected : ranks 0 and 1); NCCL_DEBUG=INFO in the env",
        ),
        ("NCCL error of no kind\nmore", UserError, "rank 0: NCCL failed (NCCL error of no kind); "),
        (GONE, PeersLostError, "rank 0 lost its peers (NCCL error in: "),
        ("NCCL communicator was aborted on rank 0.", PeersLostError, "rank 0 lost its peers (NCCL comm"),
        ("Timed out in a collective", PeersLostError, "rank 0 lost its peers (Timed out"),
    ],
)
def test_an_error_of_nccls_own_is_no_loss_of_the_peers(said: str, kind: type[UserError], told: str) -> None:
    with pytest.raises(UserError) as raised, loss_explained(TWO):
        raise dist.DistBackendError(said)
    assert type(raised.value) is kind
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (dist.DistBackendError(DUPLICATE), "rank 0: NCCL failed (Duplicate GPU detected"),
        (dist.DistStoreError("wait timeout after 1800000ms"), "rank 0 cannot meet its peers at "),
        (dist.DistNetworkError("The server socket has failed to listen"), "rank 0 cannot meet its peers at "),
    ],
)
def test_a_meeting_that_fails_is_a_sentence(
    error: Exception, told: str, compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(dist, "init_process_group", init)
    with pytest.raises(UserError) as raised, joined(checked(compose(*QUICK)), TWO, CPU, dist.HashStore()):
        pass
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [(UserError("mine"), 1, "deeprelax: mine\n"), (Stopped(15), 143, "stopped by SIGTERM"), (KeyError("x"), 1, "x")],
)
def test_who_is_left_alone_tells_why_and_ends_at_once(
    error: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Ended(BaseException):
        pass

    def exit_(status: int) -> None:
        raise Ended(status)

    def work(arguments: list[str]) -> None:
        raise LeftAlone(error)

    monkeypatch.setattr(cli.os, "_exit", exit_)
    monkeypatch.setattr(cli.importlib, "import_module", lambda name: SimpleNamespace(main=work))
    with pytest.raises(Ended) as ended:
        cli.main(["train"])
    assert ended.value.args == (status,)
    assert said in capsys.readouterr().err


def test_of_ranks_that_lost_one_the_message_names_it(tmp_path: Path) -> None:
    lost = {"time": 1.0, "rank": 0, "user": True, "resumes": True, "own": False, "lost": True, "message": "lost"}
    (tmp_path / "0.json").write_text(json.dumps(lost))
    with pytest.raises(UserError, match="rank 1 ended with status 7 and without a word: the same command resumes"):
        _raise_first_error([1, 7, 143], tmp_path, None)  # the last one was ended by its parent
    with pytest.raises(UserError, match="rank 1 was killed by SIGKILL"):
        _raise_first_error([1, -9, 143], tmp_path, None)
    first = lost | {"time": 0.5, "rank": 2, "lost": False, "message": "mend your data"}
    (tmp_path / "2.json").write_text(json.dumps(first))
    with pytest.raises(UserError, match="mend your data"):
        _raise_first_error([1, -15, 1], tmp_path, None)
