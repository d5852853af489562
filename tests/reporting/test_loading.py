"""Test what is loaded from run directories that are complete, unfinished or corrupt."""

from __future__ import annotations

import fcntl
import json
import threading
from pathlib import Path

import pytest

from deeprelax.errors import UserError
from deeprelax.files import sole_writer
from deeprelax.reporting.loading import find_runs, read_records
from tests.reporting.fakes import record, write_run

SAID = "2026-01-02 03:04:05,678 ERROR "


def test_settings_leave_out_the_seeds_and_what_cannot_change_the_result(tmp_path: Path) -> None:
    for seed in (0, 3):
        write_run(tmp_path, "heat", seed, 1.0)
    (one, other), _ = find_runs([tmp_path])
    assert (one.seed, other.seed) == (0, 3)
    assert one.settings == other.settings
    assert one.settings["optimizer.sigma"] == 0.02
    assert not {"seed", "optimizer.seed", "hardware.threads", "data_dir"} & set(one.settings)


def test_a_seed_of_the_noise_that_does_not_follow_the_runs_is_a_setting(tmp_path: Path) -> None:
    write_run(tmp_path, "heat", 0, 1.0, optimizer__seed=7)
    assert find_runs([tmp_path])[0][0].settings["optimizer.seed"] == 7


def test_runs_that_went_on_from_others_are_told_from_whole_ones_but_not_by_their_seed(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "heat", 0, 1.0)
    write_run(tmp_path / "b", "heat", 0, 1.0, continue_from=None)  # as versions with this key write it
    one, other = find_runs([tmp_path])[0]
    assert one.settings == other.settings
    for seed in (0, 12):
        write_run(tmp_path / f"c{seed}", "heat", seed, 1.0)
        config = next((tmp_path / f"c{seed}").rglob("config.yaml"))
        config.write_text(json.dumps(json.loads(config.read_text()) | {"continue_from": f"runs/x/seed-{seed}"}))
    one, other = (find_runs([tmp_path / f"c{seed}"])[0][0] for seed in (0, 12))
    assert one.settings == other.settings
    assert one.settings["continue_from"] == "runs/x"  # its last two folders: relative or absolute is the same


def test_the_number_of_chains_is_a_setting(tmp_path: Path) -> None:
    directory = write_run(tmp_path, "hj", 0, 1.0, hardware__share="chains")
    (directory / "provenance.json").write_text('{"ranks": 4}')
    assert find_runs([tmp_path])[0][0].settings["ranks"] == 4


def test_each_run_is_found_once(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "sgd", 0, 1.0)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    runs, _ = find_runs([tmp_path / "a", tmp_path, tmp_path / "link"])
    assert len(runs) == 1


def test_states(tmp_path: Path) -> None:
    write_run(tmp_path, "sgd", 0, 1.0)
    write_run(tmp_path, "sgd", 1, None, log=f"{SAID}outer step 3 is not finite\nTraceback of it\n")
    write_run(tmp_path, "sgd", 2, None, log=f"{SAID}stopped by SIGTERM\n")
    write_run(tmp_path, "sgd", 3, None, log="2026-01-02 03:04:05,678 INFO pass 1\n")
    held = write_run(tmp_path, "sgd", 4, None, log=f"{SAID}an old failure\n")
    with sole_writer(held):
        runs, _ = find_runs([tmp_path])
    assert [run.state for run in runs] == ["finished", "failed", "stopped", "stopped", "running"]
    assert runs[1].reason == "outer step 3 is not finite"
    assert runs[2].reason == "stopped by SIGTERM"


def test_looking_at_a_run_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    directory = write_run(tmp_path, "sgd", 0, None)
    (directory / ".lock").touch()
    looking = (directory / ".lock").open()
    fcntl.flock(looking, fcntl.LOCK_SH)  # as `is_held` does, but for longer
    threading.Timer(0.05, looking.close).start()
    with sole_writer(directory):
        assert find_runs([tmp_path])[0][0].state == "running"
    with (directory / ".lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        with pytest.raises(UserError, match="is being written by process"), sole_writer(directory):
            pass


def test_a_line_that_is_being_written_is_left_out_and_left_alone(tmp_path: Path) -> None:
    directory = write_run(tmp_path, "sgd", 0, None)
    file = directory / "metrics.jsonl"
    whole = read_records(file)
    with file.open("a") as end:
        end.write('{"kind": "test", "gradient_ev')
    before = file.read_bytes()
    assert read_records(file) == whole
    assert file.read_bytes() == before
    assert len(whole) == 3


@pytest.mark.parametrize("line", ["{broken", "[1, 2]", '{"kind": "test"}', "\0\0\0", '{"kind": 1}, {"kind": 2}'])
def test_damage_in_the_middle_is_named_by_its_line(line: str, tmp_path: Path) -> None:
    directory = write_run(tmp_path, "sgd", 0, None)
    file = directory / "metrics.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], line, *lines[1:]]) + "\n")
    ((run,), notes) = find_runs([tmp_path])
    assert (run.state, notes) == ("corrupt", [])
    assert run.reason.startswith(f"{file} is corrupt in line 2: ")


@pytest.mark.parametrize("change", ["{", "[]", {"budget": None}, {"seconds": "2"}, {"gradient_evaluations": 0}])
def test_a_corrupt_result_is_named(change: str | dict[str, object], tmp_path: Path) -> None:
    whole = write_run(tmp_path, "sgd", 0, 1.0)
    file = write_run(tmp_path, "sgd", 1, 1.0) / "result.json"
    content = json.loads(file.read_text())
    file.write_text(change if isinstance(change, str) else json.dumps(content | change))
    runs, _ = find_runs([tmp_path])
    assert [(run.directory, run.state) for run in runs] == [(whole, "finished"), (file.parent, "corrupt")]
    assert runs[1].reason.startswith(f"{file} is corrupt")


@pytest.mark.parametrize("text", ["{a: [", "{}", '{"problem": "cosine"}', "\0", "[1]"])
def test_what_is_no_training_runs_configuration_is_told_of(text: str, tmp_path: Path) -> None:
    directory = write_run(tmp_path, "sgd", 0, 1.0)
    (directory / "config.yaml").write_text(text)
    assert find_runs([tmp_path]) == ([], [f"{directory} is no training run, or its config.yaml is corrupt: skipped"])


@pytest.mark.parametrize("seed", [None, "a", 1.5, True])
def test_a_configuration_needs_a_seed(seed: object, tmp_path: Path) -> None:
    write_run(tmp_path, "sgd", 0, 1.0)
    file = next(tmp_path.rglob("config.yaml"))
    file.write_text(json.dumps(json.loads(file.read_text()) | {"seed": seed}))
    runs, notes = find_runs([tmp_path])
    assert (runs, len(notes)) == ([], 1)


def test_runs_are_found_behind_links_and_below_a_stray_configuration(tmp_path: Path) -> None:
    write_run(tmp_path / "elsewhere", "sgd", 0, 1.0)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "here" / "round").symlink_to(tmp_path / "here")
    (tmp_path / "here" / "config.yaml").write_text("{}")
    runs, notes = find_runs([tmp_path / "here"])
    assert (len(runs), len(notes)) == (1, 1)


def test_a_result_without_its_configuration_is_told_of(tmp_path: Path) -> None:
    directory = write_run(tmp_path, "sgd", 0, 1.0)
    (directory / "config.yaml").unlink()
    assert find_runs([tmp_path]) == ([], [f"{directory} has a result but no config.yaml, and is skipped"])


def test_records_of_training_are_read_past_but_for_the_last(tmp_path: Path) -> None:
    records = [record(10, 5.0, "train"), record(10, 5.0), record(20, 4.0, "train"), record(30, 3.0, "train")]
    write_run(tmp_path, "sgd", 0, None, records=records)
    (run,), _ = find_runs([tmp_path])
    assert run.records == [records[1], records[3]]
    assert run.passes == 1.5
