"""Launch the ranks of one job, a process each, with torchrun's environment contract. Imports no torch."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from ..configuration.schema import HardwareConf
from ..errors import OwnCodeError, PeersLostError, Stopped, UserError
from .processes import Processes
from .ranks import Ranks
from .signals import STOPPING

# what a rank finds in its environment beside torchrun's contract: two descriptors that it shares, and a path
PARENT, LISTENER, ERROR_FILE = "DEEPRELAX_PARENT", "DEEPRELAX_LISTENER", "DEEPRELAX_ERROR_FILE"


def wanted(conf: HardwareConf) -> int:
    """The number of ranks that a configuration asks for."""
    if conf.devices != "all":
        return int(conf.devices)
    if conf.device == "cpu":
        return 1
    import torch

    return max(1, torch.cuda.device_count())


def launch(command: Sequence[str], world: int, log_of: Callable[[int], Path] | None = None) -> None:
    """Run `command` as ranks 0 to world - 1 and wait for all of them.

    Rank 0 has this process's output. What the others write to standard error, as NCCL its reasons, is appended to the
    file that `log_of` names, which is there only if something was written. If a rank dies or fails, the others are
    ended, and its error is raised here: UserError for the user's mistakes, Stopped for signals, OwnCodeError with the
    traceback for errors in her own classes, RuntimeError with it for ours. If this process dies, the ranks end too
    (`end_with_parent`).
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0)) as listener,
        _logs(world, log_of) as errors,
    ):
        parent, held = os.pipe()  # the ranks read `parent`, which ends when this process, who holds the other end, does
        try:
            with Processes() as processes:
                ranks = []
                for rank in range(world):
                    environment = _environment(rank, world, Path(folder), listener, parent)
                    shared = [parent, listener.fileno()] if rank == 0 else [parent]
                    output = None if rank == 0 else subprocess.DEVNULL
                    started = processes.start(command, environment, stdout=output, stderr=errors[rank], pass_fds=shared)
                    ranks.append(started)
                _wait(processes, ranks)
        finally:
            os.close(parent)
            os.close(held)
        _raise_first_error([rank.returncode for rank in ranks], Path(folder), processes.asked)
        if processes.asked is not None:  # too late for this run, but there may be more jobs
            raise Stopped(processes.asked)


@contextmanager
def _logs(world: int, log_of: Callable[[int], Path] | None) -> Iterator[list[IO[bytes] | int | None]]:
    """Where the standard error of each rank goes; logs that are still empty at the end are deleted."""
    files = {} if log_of is None else {rank: log_of(rank) for rank in range(1, world)}
    with ExitStack() as stack:
        opened = {rank: stack.enter_context(file.open("ab")) for rank, file in files.items()}
        try:
            yield [None, *(opened.get(rank, subprocess.DEVNULL) for rank in range(1, world))]
        finally:
            for file in files.values():
                if file.exists() and file.stat().st_size == 0:
                    file.unlink()


def _environment(rank: int, world: int, folder: Path, listener: socket.socket, parent: int) -> dict[str, str]:
    contract = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": listener.getsockname()[1]}
    ours = {PARENT: parent, LISTENER: listener.fileno() if rank == 0 else "", ERROR_FILE: folder / f"{rank}.json"}
    return {**os.environ, **{name: str(value) for name, value in {**contract, **meeting, **ours}.items()}}


def _wait(processes: Processes, ranks: list[subprocess.Popen[bytes]]) -> None:
    """Until all have ended well, or one has not; or, once asked to stop, until all have stopped."""
    codes = [rank.poll() for rank in ranks]
    while None in codes and not any(code and code - 128 not in STOPPING for code in codes):
        processes.wait_a_moment()
        codes = [rank.poll() for rank in ranks]


def _raise_first_error(codes: list[int], folder: Path, asked: int | None) -> None:
    """Raise what ended the run; nothing if all ranks ended well.

    Several ranks end badly where one did: the first rule that fits names the cause.
        1. every bad ending is a stop: the ranks agreed on it (one that had already finished ends with 0);
        2. this process was asked to stop, and no rank left an error: what else happened is the stop's consequence;
        3. a rank was killed by a signal that is not ours: its peers complain about the connection that broke then;
        4. a rank ended without a word, where the others have only lost it;
        5. the error that was reported first.
    """
    if not any(codes):
        return
    errors: list[dict[str, Any]] = [json.loads(file.read_text()) for file in folder.glob("*.json")]
    stopped = [code - 128 for code in codes if code]
    if all(number in STOPPING for number in stopped):
        raise Stopped(stopped[0])
    if asked is not None and not errors:
        raise Stopped(asked)
    killed = [(rank, -code) for rank, code in enumerate(codes) if code < 0 and code != -signal.SIGTERM]
    if killed:
        rank, number = killed[0]
        name = signal.Signals(number).name
        raise UserError(
            f"rank {rank} was killed by {name}: the same command resumes from the last checkpoint, if any", resumes=True
        )
    first = min(errors, key=lambda error: float(error["time"]), default=None)
    ended = [rank for rank, code in enumerate(codes) if code and code > 0 and code - 128 not in STOPPING]
    silent = [rank for rank in ended if not (folder / f"{rank}.json").exists()]
    if first is not None and first["lost"] and silent:
        raise UserError(
            f"rank {silent[0]} ended with status {codes[silent[0]]} and without a word: the same command resumes from "
            "the last checkpoint, if any",
            resumes=True,
        )
    if first is None:
        raise UserError(
            f"the ranks ended with status {codes}: the same command resumes from the last checkpoint, if any",
            resumes=True,
        )
    if first["user"]:
        raise UserError(first["message"], resumes=first["resumes"])
    raise (OwnCodeError if first["own"] else RuntimeError)(f"rank {first['rank']} failed:\n{first['message']}")


# Called inside a rank's process -----------------------------------------------------------------------------------


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


def end_with_parent() -> None:
    """Wait until the process that started this one is gone, and end this one. To be run in a thread."""
    os.read(int(os.environ[PARENT]), 1)  # returns at the end of the pipe
    os._exit(1)


def report(error: BaseException, message: str, *, own: bool = False) -> None:
    """Leave an error for the process that started this one; own: it is in a class of the user's."""
    content = {
        "time": time.time(),
        "rank": int(os.environ["RANK"]),
        "user": isinstance(error, UserError),
        "resumes": isinstance(error, UserError) and error.resumes,
        "own": own,
        "lost": isinstance(error, PeersLostError),
        "message": message,
    }
    Path(os.environ[ERROR_FILE]).write_text(json.dumps(content))


def command_for(module: str, *arguments: str) -> list[str]:
    """This interpreter, running a module of ours."""
    return [sys.executable, "-P", "-m", module, *arguments]
