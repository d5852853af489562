"""What ranks sent each other stands beside what a run cost."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from deeprelax.reporting.export import as_csv, as_json
from deeprelax.reporting.text import markdown, terminal
from tests.reporting.compared import compared
from tests.reporting.fakes import write_run


def test_runs_on_several_ranks_have_a_column(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path, "sgd", seed, 2.0 + seed, result={"ranks": 4, "traffic_bytes": 52_000_000 + seed})
        write_run(tmp_path, "hj", seed, 1.0 + seed, result={"ranks": 4, "traffic_bytes": 2_612_000})
        write_run(tmp_path, "heat", seed, 3.0 + seed)  # on one rank
    found = compared(tmp_path)
    lines = terminal(found).splitlines()
    head = next(line for line in lines if "evaluations" in line)
    assert head.split()[-2:] == ["seconds", "sent"]
    ends = {line.split()[0]: line.split()[-2:] for line in lines if line.split()[:1] in (["sgd"], ["hj"], ["heat"])}
    assert ends == {"sgd": ["52", "MB"], "hj": ["2.61", "MB"], "heat": ["2", "-"]}
    assert "what each rank handed to all-reduces" in terminal(found)
    assert "| 52 MB |" in markdown(found)
    groups = {group["label"]: group["traffic_bytes"] for group in json.loads(as_json(found))["tables"][0]["groups"]}
    assert groups == {"sgd": 52_000_000.5, "hj": 2_612_000.0, "heat": None}
    rows = {row["label"]: row["traffic_bytes"] for row in csv.DictReader(io.StringIO(as_csv(found)))}
    assert rows == {"sgd": "52000000.5", "hj": "2612000.0", "heat": ""}


@pytest.mark.parametrize("result", [{}, {"ranks": 1, "traffic_bytes": 0}, {"ranks": 2}])
def test_runs_on_one_rank_and_older_ones_have_none(result: dict[str, int], tmp_path: Path) -> None:
    write_run(tmp_path, "sgd", 0, 2.0, result=result)
    found = compared(tmp_path)
    assert "sent" not in terminal(found)
    assert "sent" not in markdown(found)
