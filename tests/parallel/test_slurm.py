"""Under Slurm: a cluster of this machine alone, made for the tests, runs sweeps and sends its signals to runs."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deeprelax.records import checkpoint
from tests.quick import LONGER, assert_same, finish, wait_for

pytestmark = pytest.mark.slow
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
TOOLS = {"slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "sbatch": "slurm-wlm", "munged": "munge"}

# No accounting and no control groups: it asks nothing of the machine and writes to one folder. It talks over loopback,
# with a key of its own. What it listens on is left open: told otherwise, it takes the address of the machine's name.
CONFIGURATION = """
ClusterName=deeprelax
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
MpiDefault=none
PlugStackConfig={folder}/plugstack.conf
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def slurm(command: str, *arguments: str) -> str:
    """What one of Slurm's commands prints; nothing while the cluster does not answer."""
    return subprocess.run([command, *arguments], capture_output=True, text=True, timeout=60).stdout.strip()


def members(configuration: Path) -> list[int]:
    """Processes of the cluster and its jobs, whoever their parent is by now: they all inherit where it is described."""
    word, found = f"SLURM_CONF={configuration}".encode(), []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if word in file.read_bytes().split(b"\0"):
                found.append(int(file.parent.name))
        except OSError:  # it has just ended
            continue
    return found


def described(folder: Path) -> Path:
    """The cluster's configuration in this folder, beside its key."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [one.getsockname()[1], other.getsockname()[1]]
    host = socket.gethostname().partition(".")[0]
    configuration = folder / "slurm.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, host=host, ports=ports))
    (folder / "plugstack.conf").touch()  # instead of the system's
    (folder / "munge.key").touch(mode=0o600)
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    return configuration


class Daemons:
    """What the cluster consists of: started, waited for and ended by process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str) -> None:
        with (self._folder / f"{name}.out").open("wb") as out:
            self._processes[name] = subprocess.Popen(
                [name, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )

    def ready(self, condition: Callable[[], object]) -> bool:
        """Does the condition hold? Fails with the logs of a daemon that has ended."""
        for name, process in self._processes.items():
            logs = [file.read_text() for file in self._folder.glob(f"{name}.[ol]*")]
            assert process.poll() is None, f"{name} ended with {process.returncode}:\n" + "\n".join(logs)
        return bool(condition())

    def end(self) -> None:
        for process in reversed(self._processes.values()):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    for tool, package in TOOLS.items():
        if shutil.which(tool, path=PATH) is None:
            pytest.skip(f"{tool} is not installed (Debian: {package})")
    if os.geteuid() != 0:
        pytest.skip("only root may start slurmd")
    folder = tmp_path_factory.mktemp("slurm")
    configuration, daemons = described(folder), Daemons(folder)
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_"))]:
            environment.delenv(name)
        environment.setenv("SLURM_CONF", str(configuration))
        environment.setenv("PATH", PATH)
        try:
            files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "log", "pid", "seed")]
            # Forced, since munged wants a folder that all may enter, and pytest's are their owner's alone.
            daemons.start("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files)
            wait_for(lambda: daemons.ready((folder / "munge.socket").exists))
            daemons.start("slurmctld", "-D")
            daemons.start("slurmd", "-D")
            wait_for(lambda: daemons.ready(lambda: slurm("sinfo", "--noheader", "--format=%T") == "idle"))
            yield
        finally:
            slurm("scancel", "--user=root")
            daemons.end()
            for pid in members(configuration):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def of_job(job: str, field: str) -> str:
    found = re.search(rf"\b{field}=(\S+)", slurm("scontrol", "show", "job", job))
    return found.group(1) if found else ""


def finished(root: str) -> list[Path]:
    return [file.parent for file in Path(root).rglob("result.json")]


def stop(job: str, run: str) -> None:
    """USR1 to the processes of a running job that has a checkpoint, as Slurm sends before it takes the machine."""
    wait_for(lambda: list(Path().glob(f"{run}/{checkpoint.NAME}")))
    assert of_job(job, "JobState") == "RUNNING"
    subprocess.run(["scancel", "--signal=USR1", job], check=True, timeout=60)
    wait_for(lambda: of_job(job, "JobState") == "FAILED")


@pytest.mark.usefixtures("_cluster")
def test_a_job_that_slurm_signals_ends_with_138_and_resumes() -> None:
    run = [*LONGER, "optimizer=hj", "optimizer.inner_steps=5", "epochs=60"]
    train = [sys.executable, "-m", "deeprelax", "train", *run, "output_dir=stopped"]
    script = Path("job.sh")
    script.write_text('#!/bin/sh\nsrun "$@"\n')

    def submit(log: str) -> str:
        options = ["--parsable", "--time=5", f"--output={log}", "--export=ALL"]
        return slurm("sbatch", *options, str(script), *train)

    job = submit("first.log")
    stop(job, "stopped/*/*/seed-0")
    assert of_job(job, "ExitCode") == "138:0", Path("first.log").read_text()
    assert "deeprelax: stopped by SIGUSR1; to resume: deeprelax train " in Path("first.log").read_text()
    assert not finished("stopped")
    job = submit("second.log")
    wait_for(lambda: of_job(job, "JobState") == "COMPLETED", seconds=120)
    assert "resuming from pass" in Path("second.log").read_text()
    assert_same(*finished("stopped"), finish(*run, "output_dir=whole"))


@pytest.mark.usefixtures("_cluster")
def test_a_sweep_by_submitit_resumes_after_a_signal_to_a_job() -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install 'deeprelax[sweeps]'")
    launcher = ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=5", "hydra.launcher.cpus_per_task=1"]
    run = [*LONGER, "optimizer=hj", "optimizer.inner_steps=5", "epochs=60"]
    command = [sys.executable, "-m", "deeprelax", "train", "-m", *launcher, *run, "seed=0,1", "output_dir=swept"]
    with Path("sweep.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(lambda: len(slurm("squeue", "--noheader", "--array").splitlines()) == 2)
        array = slurm("squeue", "--noheader", "--format=%F").splitlines()[0]
        stop(f"{array}_0", "swept/*/*/seed-0")
        wait_for(lambda: of_job(f"{array}_1", "JobState") == "COMPLETED", seconds=120)
    finally:  # by itself it would wait on: without accounting nobody tells submitit of a job that has failed
        process.terminate()
        process.wait(30)
    assert process.returncode == 143, Path("sweep.log").read_text()
    assert [path.name for path in finished("swept")] == ["seed-1"]
    again = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert again.returncode == 0, again.stderr
    for seed, path in enumerate(sorted(finished("swept"))):
        assert ("resuming from pass" in (path / "train.log").read_text()) == (seed == 0)
        assert_same(path, finish(*run, f"seed={seed}", f"output_dir=whole-{seed}"))
