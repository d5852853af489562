"""Two machines: network namespaces with a cable between them, joined by the README's own command."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.quick import LONGER, assert_same, finish

ADDRESSES = {"first": "192.0.2.1", "second": "192.0.2.2"}  # of a block that is nobody's (RFC 5737)
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def ip(*arguments: str) -> str:
    command = [str(shutil.which("ip", path=PATH)), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[dict[str, list[str]]]:
    """By the name of a machine, the words that run on it the command behind them."""
    for tool, package in {"ip": "iproute2", "unshare": "util-linux"}.items():
        if shutil.which(tool, path=PATH) is None:
            pytest.skip(f"{tool} is not installed (Debian: {package})")
    if os.geteuid() != 0:
        pytest.skip("only root may make network namespaces")
    spaces = {name: f"deeprelax-{os.getpid()}-{name}" for name in ADDRESSES}
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in ADDRESSES.items()))
    made: list[str] = []
    try:
        for space in spaces.values():
            try:
                ip("netns", "add", space)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")
            made.append(space)
        first, second = spaces.values()
        ip("-n", first, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", second)
        for name, space in spaces.items():
            ip("-n", space, "address", "add", f"{ADDRESSES[name]}/30", "dev", "cable")
            for device in ("lo", "cable"):
                ip("-n", space, "link", "set", device, "up")
        # torch finds the other machine by its name, so each has one of its own and a list of both.
        named = 'hostname "$0" && mount --bind "$1" /etc/hosts && shift && exec "$@"'
        yield {
            name: ["ip", "netns", "exec", space, "unshare", "--uts", "sh", "-c", named, name, str(hosts)]
            for name, space in spaces.items()
        }
    finally:
        for space in made:
            for pid in ip("netns", "pids", space).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            ip("netns", "delete", space)


def sent(machine: list[str]) -> int:
    """Bytes that left a machine by the cable."""
    command = [*machine, "ip", "-json", "-statistics", "link", "show", "cable"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    return int(json.loads(text)[0]["stats64"]["tx"]["bytes"])


@pytest.mark.slow
@pytest.mark.parametrize("share", ["data", "chains"])
def test_two_machines_train_as_two_ranks_of_one_do(
    share: str, machines: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", PATH)
    run = [*LONGER, "optimizer=entropy_sgd", "optimizer.inner_steps=5", "epochs=4", f"hardware.share={share}"]
    torchrun = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", "--rdzv_backend=c10d",
        "--rdzv_endpoint=first:29500", "-m", "deeprelax", "train", *run, f"output_dir={tmp_path}/two",
    ]  # fmt: skip
    logs = {name: tmp_path / f"{name}.log" for name in machines}
    started = []
    for name, words in machines.items():
        with logs[name].open("w") as log:
            started.append(subprocess.Popen([*words, *torchrun], stdout=log, stderr=subprocess.STDOUT))
    try:
        assert [process.wait(200) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
            process.wait()
        for log in logs.values():
            print(log.read_text())
    (result,) = (tmp_path / "two").rglob("result.json")
    found = json.loads(result.read_text())
    assert found["ranks"] == 2
    averaged = found["gradient_evaluations"] if share == "data" else found["outer_steps"]
    for machine in machines.values():
        assert sent(machine) > averaged * found["parameters"] * 4  # float32: nothing found a way around the cable
    assert_same(result.parent, finish(*run, "hardware.devices=2", "output_dir=one"))
