"""Several ranks inside one job: one process each, with torchrun's environment contract. Imports no torch."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..configuration.schema import HardwareConf
from ..errors import Stopped, UserError
from .ranks import Ranks
from .signals import STOPPING, Requests

GRACE = 5.0  # seconds from SIGTERM to SIGKILL
LIFELINE, LISTENER, ERROR_FILE = "DEEPRELAX_LIFELINE", "DEEPRELAX_LISTENER", "DEEPRELAX_ERROR_FILE"


def wanted(conf: HardwareConf) -> int:
    """The ranks that a configuration asks for."""
    if conf.devices != "all":
        return int(conf.devices)
    if conf.device == "cpu":
        return 1
    import torch

    return max(1, torch.cuda.device_count())


def launch(command: Sequence[str], world: int) -> None:
    """Run `command` as ranks 0 to world - 1 and wait for all of them.

    Rank 0 has this process's output. If a rank dies or fails, the others are ended, and its error is raised here:
    UserError for the user's mistakes and for signals, RuntimeError with the traceback for ours. If this process dies,
    the ranks end too (they watch the lifeline).
    """
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        held, lifeline = os.pipe()  # the ranks read `held` and see its end when this process is gone
        ranks: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(world):
                ranks.append(_start(command, rank, world, Path(folder), listener, held))  # noqa: PERF401
            os.close(held)
            with Requests() as requests:
                _wait(ranks, requests)
        finally:
            _end(ranks)
            os.close(lifeline)
        _raise_first_error([rank.returncode for rank in ranks], Path(folder), requests.number)
        if requests.number is not None:  # too late for this run, but there may be more jobs
            raise Stopped(requests.number)


def _start(
    command: Sequence[str], rank: int, world: int, folder: Path, listener: socket.socket, held: int
) -> subprocess.Popen[bytes]:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": listener.getsockname()[1]}
    ours = {LIFELINE: held, LISTENER: listener.fileno() if rank == 0 else "", ERROR_FILE: folder / f"{rank}.json"}
    environment = {name: str(value) for name, value in {**place, **meeting, **ours}.items()}
    return subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=None if rank == 0 else subprocess.DEVNULL,
        stderr=None if rank == 0 else subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on
        pass_fds=[held, listener.fileno()] if rank == 0 else [held],
    )


def _wait(ranks: list[subprocess.Popen[bytes]], requests: Requests) -> None:
    """Until all have ended well, or one has not; or, once asked to stop, until all have stopped."""
    codes, told = [rank.poll() for rank in ranks], False
    while None in codes and not any(code and code - 128 not in STOPPING for code in codes):
        if requests.number is not None and not told:
            told = True
            for rank in ranks:
                rank.send_signal(requests.number)
        time.sleep(0.05)
        codes = [rank.poll() for rank in ranks]


def _end(ranks: list[subprocess.Popen[bytes]]) -> None:
    for rank in ranks:
        if rank.poll() is None:
            rank.terminate()
    deadline = time.monotonic() + GRACE
    for rank in ranks:
        try:
            rank.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            rank.kill()
            rank.wait()


def _raise_first_error(codes: list[int], folder: Path, asked: int | None) -> None:
    if not any(codes):
        return
    errors: list[dict[str, Any]] = [json.loads(file.read_text()) for file in folder.glob("*.json")]
    stopped = [code - 128 for code in codes if code]
    if all(number in STOPPING for number in stopped):  # all, since one was told, or one that had done its part
        raise Stopped(stopped[0])
    if asked is not None and not errors:
        raise Stopped(asked)
    killed = [(rank, -code) for rank, code in enumerate(codes) if code < 0 and code != -signal.SIGTERM]
    if killed:  # the peers' complaints about a lost connection are its consequence
        rank, number = killed[0]
        name = signal.Signals(number).name
        raise UserError(
            f"rank {rank} was killed by {name}: the same command goes on from the last checkpoint, if any", resumes=True
        )
    if not errors:
        raise UserError(
            f"the ranks ended with status {codes}: the same command goes on from the last checkpoint, if any",
            resumes=True,
        )
    first = min(errors, key=lambda error: float(error["time"]))
    if first["user"]:
        raise UserError(first["message"], resumes=first["resumes"])
    raise RuntimeError(f"rank {first['rank']} failed:\n{first['message']}")


# What a rank does about its end of it -----------------------------------------------------------------------------


def store(ranks: Ranks) -> Any:
    """The TCPStore where the ranks meet, served by rank 0 on the socket that the parent opened: no race for a port."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    listener = os.environ[LISTENER]
    return TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        ranks.world,
        is_master=ranks.main,
        master_listen_fd=int(listener) if listener else None,
    )


def watch_lifeline() -> None:
    """End this process when the one that started it is gone. To be run in a thread."""
    os.read(int(os.environ[LIFELINE]), 1)
    os._exit(1)


def report(error: BaseException, message: str) -> None:
    """Leave an error for the process that started this one."""
    content = {
        "time": time.time(),
        "rank": int(os.environ["RANK"]),
        "user": isinstance(error, UserError),
        "resumes": isinstance(error, UserError) and error.resumes,
        "message": message,
    }
    Path(os.environ[ERROR_FILE]).write_text(json.dumps(content))


def command_for(module: str, *arguments: str) -> list[str]:
    """This interpreter, running a module of ours."""
    return [sys.executable, "-P", "-m", module, *arguments]
