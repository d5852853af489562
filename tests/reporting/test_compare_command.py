"""Test `deeprelax compare` as a user types it, after a tiny sweep with a failing job and a missing seed."""

from __future__ import annotations

import csv
import json
import re
import resource
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from deeprelax.cli import main
from deeprelax.configuration.check import load
from deeprelax.files import flat
from tests.hooks import spoil
from tests.reporting.fakes import record, write_run

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Runs of sgd and heat with seeds 0, 1, 2; one job of heat failed, one of sgd was never run."""
    folder = tmp_path_factory.mktemp("sweep")
    common = ["train", "-m", "experiment=smoke", "epochs=2", "hardware.threads=1", f"output_dir={folder}"]
    assert main([*common, "optimizer=sgd", "seed=0,1"]) == 0
    with pytest.MonkeyPatch.context() as patch:
        spoil(patch, seeds=[1])
        assert main([*common, "optimizer=heat", "seed=0,1,2"]) == 1
    yield folder / "smoke"
    shutil.rmtree(folder)


def results(folder: Path, optimizer: str) -> dict[int, float]:
    files = folder.glob(f"optimizer-{optimizer}+*/seed-*/result.json")
    found = [json.loads(file.read_text()) for file in files]
    return {each["seed"]: each["test_error"] for each in found}


def test_a_sweep_with_a_failure_and_a_missing_seed(sweep: Path, deeprelax: Command) -> None:
    status, out, err = deeprelax("compare", str(sweep))
    assert (status, err) == (0, "")
    sgd, heat = results(sweep, "sgd"), results(sweep, "heat")
    assert (set(sgd), set(heat)) == ({0, 1}, {0, 2})
    mean, std = statistics.mean(heat.values()), statistics.stdev(heat.values())
    assert re.search(rf"^  heat +{mean:.2f} ± {std:.2f} +2 +[+-]\d+\.\d\d \(one pair\) +12 ", out, re.MULTILINE)
    assert re.search(rf"^  sgd +{statistics.mean(sgd.values()):.2f} ± .* 2 +baseline +12 ", out, re.MULTILINE)
    assert "  ! heat: no result for seed 1 (failed)\n" in out
    assert "  ! sgd: no result for seed 2 (not there)\n" in out
    assert "  A run that failed is in no mean: " in out
    assert re.search(
        rf"^  failed  {sweep}/optimizer-heat\S*/seed-1\n    after 0 passes: .*not finite", out, re.MULTILINE
    )

    written = sweep / "compare"
    assert {file.name for file in written.iterdir()} == {
        "table.md", "table.csv", "table.json", "curves.png", "curves.pdf",
    }  # fmt: skip
    content = json.loads((written / "table.json").read_text())
    groups = {each["label"]: each for each in content["tables"][0]["groups"]}
    assert groups["heat"]["mean"] == mean
    assert groups["heat"]["difference"]["mean"] == heat[0] - sgd[0]
    assert [each["state"] for each in content["not_counted"]] == ["failed"]
    with (written / "table.csv").open() as file:
        flat_rows = {row["label"]: row for row in csv.DictReader(file)}
    assert float(flat_rows["heat"]["std"]) == std
    assert (flat_rows["heat"]["missing_seeds"], flat_rows["heat"]["unfinished"]) == ("1", "1")
    assert "| heat |" in (written / "table.md").read_text()


def test_the_runs_of_a_sweep_have_the_same_columns_in_tensorboard(sweep: Path) -> None:
    columns = {}
    for file in sorted(sweep.rglob("result.json")):
        events = EventAccumulator(str(file.parent / "tensorboard"))
        events.Reload()
        start = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        session = plugin_data_pb2.HParamsPluginData.FromString(start).session_start_info
        conf = load(file.parent / "config.yaml")
        assert session.hparams["seed"].number_value == conf.seed
        assert session.hparams["optimizer.name"].string_value == conf.optimizer.name
        assert {"test/error", "validation/error"} <= set(events.Tags()["scalars"])
        assert set(flat(vars(conf.optimizer), "optimizer.")) <= set(session.hparams)
        columns[file.parent] = (conf.optimizer.name, frozenset(session.hparams))
    assert len(columns) == 4
    assert len(set(columns.values())) == 2  # one set of columns for each optimizer
    one, other = {names for _, names in columns.values()}
    assert {name for name in one ^ other if not name.startswith("optimizer.")} == set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere is not a folder: "),
        (["empty"], "no runs under empty: "),
        (["runs", "--metric", "accuracy"], "--metric accuracy: no run has it: there are seconds, test_error, "),
        (
            ["runs", "--metric", "val_relative_l2"],
            "--metric val_relative_l2: no run held images out (dataset.validation=N",
        ),
        (["runs", "--x", "time"], "argument --x: invalid choice: 'time' "),
        (["runs", "--by", "optimiser"], "optimiser is no key of these runs (did you mean optimizer?): "),
        (["runs", "--baseline", "sgd"], "--baseline sgd cannot be read: write KEY=VALUE"),
        ([], "the following arguments are required: DIR: see deeprelax compare --help"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], said: str, deeprelax: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_run(tmp_path / "runs", "sgd", 0, 1.0)
    status, out, err = deeprelax("compare", *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"deeprelax: {said}")
    assert err.count("\n") == 1


def test_where_it_is_written_and_from_several_folders(deeprelax: Command, tmp_path: Path) -> None:
    write_run(tmp_path / "a", "sgd", 0, 1.0)
    write_run(tmp_path / "b", "heat", 0, 1.0)
    status, out, _ = deeprelax("compare", "a", "b", "--out", "here/there", "--x", "seconds", "--by", "optimizer")
    assert status == 0
    assert (tmp_path / "here/there/curves.pdf").is_file()
    assert not (tmp_path / "a/compare").exists()
    assert out.endswith("Written to here/there: table.md, table.csv, table.json, curves.png, curves.pdf\n")


def test_neither_torch_nor_scipy_stats_is_imported(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path, "sgd", seed, 1.0 + seed)
        write_run(tmp_path, "heat", seed, 2.0 * seed)
    code = "import sys; from deeprelax.cli import main; assert main(['compare', '.']) == 0; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    modules = set(done.stdout.splitlines()[-1].split())
    assert "deeprelax.reporting.figure" in modules
    assert not {"torch", "scipy.stats"} & modules


@pytest.mark.slow
def test_two_hundred_long_runs_take_seconds(tmp_path: Path) -> None:
    """In CPU seconds, which other work on the machine does not change; half of them are the figure's."""
    records = [record(n, 10 / n) for n in range(1, 501)]
    for k in range(40):
        for seed in range(5):
            write_run(tmp_path, "heat", seed, 1.0 + seed / 7 + k, records=records, optimizer__lr=k)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([sys.executable, "-m", "deeprelax", "compare", "."], cwd=tmp_path, check=True, capture_output=True)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 6
