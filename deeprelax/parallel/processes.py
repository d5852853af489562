"""Start processes, pass signals on to them, and leave none behind: ranks of a run, jobs of a sweep."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Collection, Sequence
from typing import IO, Any, Self

from .signals import Requests

POLL = 0.05  # seconds
GRACE = 5.0  # seconds from SIGTERM to SIGKILL


class Processes:
    """Within the `with`, the first signal that this process gets is passed on to those that it has started, once.

    Those that still run at the end, as after an error, are terminated, and killed after `GRACE` seconds.
    """

    def __init__(self) -> None:
        self._requests = Requests()
        self._running: list[subprocess.Popen[bytes]] = []
        self._passed_on = False

    @property
    def asked(self) -> int | None:
        """The signal that this process got, if any."""
        return self._requests.number

    def start(
        self,
        command: Sequence[str],
        environment: dict[str, str],
        *,
        stdout: int | None = subprocess.DEVNULL,
        stderr: int | IO[bytes] | None = subprocess.DEVNULL,
        pass_fds: Collection[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start one. Ctrl-C does not reach it: it has a session of its own, and gets the signal from here."""
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, pass_fds=pass_fds,
            start_new_session=True,
        )  # fmt: skip
        self._running.append(process)
        return process

    def wait_a_moment(self) -> None:
        """Pass a signal on if one has come, and sleep."""
        if self.asked is not None and not self._passed_on:
            self._passed_on = True
            for process in self._running:
                process.send_signal(self.asked)  # nothing for one that has ended
        time.sleep(POLL)

    def __enter__(self) -> Self:
        self._requests.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        for process in self._running:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + GRACE
        for process in self._running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._requests.__exit__(*exception)
