"""How many threads a process takes: OMP_NUM_THREADS, the affinity mask, the CPU quota of its cgroups."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deeprelax.parallel.cores import threads
from tests.hooks import interrupt_at
from tests.quick import RUN, directory

Command = Callable[..., tuple[int, str, str]]
# lines of /proc/self/mountinfo, with the root and the mount point of the hierarchy
V2 = "31 23 0:28 {} {} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "33 31 0:30 {} {} rw,relatime shared:7 - cgroup cgroup rw,cpu,cpuacct"
OTHER = "22 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n23 1 8:1 / / rw - ext4 /dev/sda1 rw"


@pytest.fixture(autouse=True)
def _sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)


def machine(root: Path, cgroup: str, mounts: str, **files: str) -> Path:
    """A root with these lines in /proc/self, and files below /sys/fs/cgroup, `__` for a slash."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(cgroup)
    (root / "proc" / "self" / "mountinfo").write_text(f"{OTHER}\n{mounts}\n")
    for name, text in files.items():
        file = root / "sys" / "fs" / "cgroup" / name.replace("__", "/")
        file = file.with_name(file.name.replace("cpu_", "cpu."))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return root


def test_the_quota_of_version_2_and_of_the_cgroups_above(tmp_path: Path) -> None:
    mount = V2.format("/", "/sys/fs/cgroup")
    for name, files, cores in [
        ("none", {"a__b__cpu_max": "max 100000"}, 16),
        ("own", {"a__b__cpu_max": "300000 100000", "a__cpu_max": "800000 100000"}, 3),
        ("above", {"a__b__cpu_max": "max 100000", "a__cpu_max": "200000 100000"}, 2),
        ("part", {"a__b__cpu_max": "150000 100000"}, 2),
        ("little", {"a__b__cpu_max": "5000 100000"}, 1),
        ("more than there are", {"a__b__cpu_max": "6400000 100000"}, 16),
        ("beside", {"a__c__cpu_max": "100000 100000", "a__b__cpu_max": "400000 100000"}, 4),
        ("corrupt", {"a__b__cpu_max": "nonsense", "a__cpu_max": "700000 100000"}, 7),
    ]:
        root = machine(tmp_path / name, "0::/a/b\n", mount, **files)
        assert threads(1, root, {}) == cores, name


def test_a_container_sees_its_own_cgroup_mounted(tmp_path: Path) -> None:
    inside = machine(tmp_path / "v2", "0::/\n", V2.format("/", "/sys/fs/cgroup"), cpu_max="200000 100000")
    assert threads(1, inside, {}) == 2
    old = machine(
        tmp_path / "v1", "4:cpu,cpuacct:/docker/f00\n1:name=systemd:/docker/f00\n",
        V1.format("/docker/f00", "/sys/fs/cgroup/cpu,cpuacct"),
        **{"cpu,cpuacct__cpu_cfs_quota_us": "400000", "cpu,cpuacct__cpu_cfs_period_us": "100000"},
    )  # fmt: skip
    assert threads(1, old, {}) == 4


def test_the_quota_of_version_1_beside_an_empty_version_2(tmp_path: Path) -> None:
    mounts = f"{V1.format('/', '/sys/fs/cgroup/cpu')}\n{V2.format('/', '/sys/fs/cgroup/unified')}"
    for name, quota, above, cores in [
        ("none", "-1", "-1", 16),
        ("own", "150000", "-1", 3),
        ("above", "-1", "50000", 1),
    ]:
        files = {
            "cpu__job__step__cpu_cfs_quota_us": quota, "cpu__job__step__cpu_cfs_period_us": "50000",
            "cpu__job__cpu_cfs_quota_us": above, "cpu__job__cpu_cfs_period_us": "50000",
        }  # fmt: skip
        root = machine(tmp_path / name, "2:cpu,cpuacct:/job/step\n0::/\n", mounts, **files)
        assert threads(1, root, {}) == cores, name


def test_ranks_share_what_the_mask_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = tmp_path / "no proc here"
    assert [threads(ranks, nothing, {}) for ranks in (1, 2, 5, 16, 40)] == [16, 8, 3, 1, 1]
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5, 7})
    assert threads(1, nothing, {}) == 3
    limited = machine(tmp_path, "0::/\n", V2.format("/", "/sys/fs/cgroup"), cpu_max="600000 100000")
    assert threads(1, limited, {}) == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    assert threads(2, limited, {}) == 3


@pytest.mark.parametrize(
    ("value", "number"),
    [("3", 3), (" 2 ", 2), ("5,2", 5), ("0", 8), ("-1", 8), ("", 8), ("many", 8), ("2.5", 8), ("99999999999", 8)],
)
def test_the_environment_is_of_each_process_and_read_as_openmp_reads_it(
    value: str, number: int, tmp_path: Path
) -> None:
    limited = machine(tmp_path, "0::/\n", V2.format("/", "/sys/fs/cgroup"), cpu_max="1600000 100000")
    assert threads(2, limited, {"OMP_NUM_THREADS": value}) == number


def test_a_run_takes_and_records_the_environments_number(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    run = [*RUN, "hardware.threads=null", "train.checkpoint_every=1"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20)
        assert deeprelax(*run)[0] == 130
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    status, out, _ = deeprelax(*run)
    assert status == 0
    assert (
        "2 threads as before, where OMP_NUM_THREADS or the cores leave 1 to this process: hardware.threads=1 is faster"
    ) in out
    for file in ("provenance.json", "result.json"):  # on resume as recorded, for the sake of the bits
        assert json.loads((directory() / file).read_text())["threads"] == 2
    assert deeprelax(*run, "output_dir=afresh")[0] == 0
    assert json.loads((directory("afresh") / "provenance.json").read_text())["threads"] == 1
    torch.set_num_threads(1)
