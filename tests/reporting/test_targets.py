"""The cost of a target, performance profiles, columns of seeds, and LaTeX: of runs made by hand."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from deeprelax.errors import UserError
from deeprelax.reporting.comparison import compare
from deeprelax.reporting.latex import escaped
from deeprelax.reporting.loading import find_runs
from deeprelax.reporting.rows import Comparison, Cost, Profile, profile
from deeprelax.reporting.targets import aim
from tests.reporting.fakes import fit_record, record, write_fit, write_run

Command = Callable[..., tuple[int, str, str]]


def descends(folder: Path, optimizer: str, seed: int, factor: float, size: int = 200, **more: object) -> None:
    """Evaluations 10, 20, ..., 100 at 1 s each 10, of error factor 1000 / evaluations."""
    records = [record(10 * k, factor * 100 / k) for k in range(1, 11)]
    dataset = {"name": "digits" if size == 200 else "mnist", "train_size": size, "options": {}}
    write_run(folder, optimizer, seed, records[-1]["error"], records=records, dataset=dataset, **more)  # type: ignore[arg-type]


def aimed(folder: Path, *targets: str, metric: str | None = None) -> Comparison:
    found = compare(find_runs([folder])[0], metric)
    aim(found, targets)
    return found


def costs(found: Comparison, number: int = 0) -> dict[str, Cost | None]:
    return {row.group.label: row.cost for row in found.tables[number].rows}


def test_the_median_of_the_first_evaluation_at_the_target_and_a_miss_is_infinite(tmp_path: Path) -> None:
    """Error 20 is reached at 1000 f / 20, rounded up to the next 10: 50, 60, 100 and 40, none, none."""
    for seed, (sgd, heat) in enumerate([(1.0, 0.8), (1.2, 2.1), (2.0, 3.0)]):
        descends(tmp_path, "sgd", seed, sgd)
        descends(tmp_path, "heat", seed, heat)
    found = costs(aimed(tmp_path, "20"))
    assert found == {"sgd": Cost(3, 3, 60.0, 6.0), "heat": Cost(3, 1, math.inf, math.inf)}
    descends(tmp_path / "more", "hj", 0, 1.0)
    descends(tmp_path / "more", "hj", 1, 9.0)
    assert costs(aimed(tmp_path / "more", "20"))["hj"] == Cost(2, 1, math.inf, math.inf)  # half of two missed it


def test_a_run_that_failed_missed_it_but_one_that_was_stopped_is_no_attempt(tmp_path: Path) -> None:
    for seed in (0, 1):
        descends(tmp_path, "sgd", seed, 1.0)
    error = "2026-01-01 10:00:00,000 ERROR the loss is not finite\n"
    few = [record(10, 100.0)]
    write_run(tmp_path, "sgd", 2, None, log=error, records=few, budget=100)
    write_run(tmp_path / "stopped", "sgd", 3, None, records=few)
    write_run(tmp_path / "reached", "sgd", 4, None, log=error, records=[record(10, 100.0), record(30, 1.0)])
    assert costs(aimed(tmp_path, "20")) == {"sgd": Cost(4, 3, 50.0, 5.0)}


def test_larger_is_better_and_each_problem_has_a_target_of_its_own(tmp_path: Path) -> None:
    """r2 is 1 - 1/k at 10 k: 0.75 at 40, 0.5 at 20."""
    for seed in (0, 1):
        write_fit(tmp_path, "sgd", seed, 0.75, records=[fit_record(10 * k, 1 - 1 / k) for k in (1, 2, 4)])
        descends(tmp_path, "sgd", seed, 1.0)
    found = aimed(tmp_path, "0.5", "digits=25")
    assert {table.title.split()[-1]: table.target for table in found.tables} == {"200": 25.0, "mine:Fit": 0.5}
    both = {table.metric: row.cost for table in found.tables for row in table.rows}
    assert both == {"test_error": Cost(2, 2, 40.0, 4.0), "test_r2": Cost(2, 2, 20.0, 2.0)}
    assert [table.target for table in aimed(tmp_path, "digits=25").tables].count(None) == 1
    descends(tmp_path / "loss", "sgd", 0, 1.0)  # whose loss is a tenth of its error
    assert costs(aimed(tmp_path / "loss", "3", metric="test_loss"))["sgd"] == Cost(1, 1, 40.0, 4.0)


@pytest.mark.parametrize(
    ("target", "metric", "message"),
    [
        ("1%", None, "--target 1% cannot be read: give a number, or NAME=NUMBER, as mnist=1.0"),
        ("nan", None, "--target nan cannot be read"),
        (
            "cifar=1",
            None,
            "--target cifar=...: there is no such data set, task or network: classification, digits, lenet",
        ),
        ("1", "test_other", "--target: test_other is not in the records of evaluations, by which runs reach a target"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(target: str, metric: str | None, message: str, tmp_path: Path) -> None:
    write_run(tmp_path, "sgd", 0, 1.0, result={"test_other": 2.0})
    with pytest.raises(UserError) as error:
        aimed(tmp_path, target, metric=metric)
    assert str(error.value).startswith(message)


def three_problems(folder: Path) -> None:
    """Costs of error 20: sgd 50, 50, 50; heat 50, 100, none; hj 100, 40, 50."""
    for size, factors in ((200, (1.0, 1.0, 2.0)), (400, (1.0, 2.0, 0.8)), (800, (1.0, 9.0, 1.0))):
        for seed in (0, 1):
            for optimizer, factor in zip(("sgd", "heat", "hj"), factors, strict=True):
                descends(folder, optimizer, seed, factor, size)


def test_a_profile_is_the_share_of_problems_within_a_factor_of_the_cheapest(tmp_path: Path) -> None:
    three_problems(tmp_path)
    found = profile(aimed(tmp_path, "20").tables)
    assert found is not None
    assert {label: sorted(ratios) for label, ratios in found.ratios.items()} == {
        "sgd": [1.0, 1.0, 1.25], "heat": [1.0, 2.5, math.inf], "hj": [1.0, 1.0, 2.0],
    }  # fmt: skip
    shares = {
        label: [found.share(label, factor) for factor in (1.0, 1.25, 2.0, 2.49, 2.5, math.inf)]
        for label in found.ratios
    }
    third = 1 / 3
    assert shares == {
        "sgd": [2 * third, 1, 1, 1, 1, 1],
        "heat": [third, third, third, third, 2 * third, 2 * third],
        "hj": [2 * third, 2 * third, 1, 1, 1, 1],
    }
    assert profile(aimed(tmp_path, "mnist=20").tables[:1]) is None
    nobody = profile(aimed(tmp_path, "0.1").tables)
    assert nobody is not None
    assert nobody.share("sgd", math.inf) == 0


def test_costs_of_a_profile_are_in_examples(tmp_path: Path) -> None:
    """heat takes as many gradients, of twice the images."""
    for size in (200, 400):
        descends(tmp_path, "sgd", 0, 1.0, size)
        descends(tmp_path, "heat", 0, 1.0, size, batch_size=20, budget=50)
    found = compare(find_runs([tmp_path])[0], by=["optimizer"])
    aim(found, ["20"])
    assert profile(found.tables) == Profile([table.title for table in found.tables], {"heat": [2, 2], "sgd": [1, 1]})


def test_the_command_shows_and_writes_them(tmp_path: Path, deeprelax: Command) -> None:
    three_problems(tmp_path)
    status, out, err = deeprelax("compare", str(tmp_path), "--target", "20", "--seeds", "--latex")
    assert (status, err) == (0, "")
    assert "lenet on digits, train_size 200: to reach test error ≤ 20 %\n" in out
    assert "  optimizer  reached  evaluations  seconds\n  heat        2 of 2           50        5\n" in out
    assert "  heat        0 of 2          inf      inf\n" in out
    assert "  optimizer  seed 0  seed 1    test error  n " in out
    assert re.search(r"^  heat +10\.00 +10\.00 +10\.00 ± 0\.00 +2 ", out, re.MULTILINE)
    assert "Of 3 problems in percent: at the target for so many times the cheapest setting's cost\n" in out
    assert "  setting  1 times  1.5 times  2 times  4 times  at all\n" in out
    assert "  sgd           67        100      100      100     100\n" in out
    assert "  heat          33         33       33       67      67\n" in out
    folder = tmp_path / "compare"
    assert {"profile.png", "profile.pdf", "table.tex"} <= {file.name for file in folder.iterdir()}
    content = json.loads((folder / "table.json").read_text())
    assert sorted(content["profile"]["ratios"]["hj"]) == [1.0, 1.0, 2.0]
    assert None in content["profile"]["ratios"]["heat"]
    groups = [{each["label"]: each for each in table["groups"]} for table in content["tables"]]
    assert groups[0]["sgd"]["cost_of_target"] == {"runs": 2, "reached": 2, "evaluations": 50.0, "seconds": 5.0}
    with (folder / "table.csv").open() as file:
        row = next(csv.DictReader(file))
    assert (row["seed_0"], row["target_reached"], row["target_evaluations"]) == ("10.0", "2", "50.0")
    assert "| heat | 2 of 2 | 50 | 5 |\n" in (folder / "table.md").read_text()
    assert deeprelax("compare", str(tmp_path))[0] == 0
    assert not (folder / "profile.png").exists()
    assert "target" not in (folder / "table.csv").read_text() + (folder / "table.json").read_text()


LATEX = r"""% \usepackage{booktabs}
\begin{table}
  \centering
  \caption{lenet on digits, train\_size 200, 5 passes: test error (\%), mean $\pm$ standard deviation over n seeds}
  \begin{tabular}{lrrrrr}
    \toprule
    setting & test error & n & minus sgd [95 \%] & evaluations & seconds \\
    \midrule
    heat, sigma=0.02 & 0.45 $\pm$ 0.07 & 2 & $-0.25$ [$-0.89$, $+0.39$] & 100 & 2 \\
    sgd & 0.70 $\pm$ 0.14 & 2 & baseline & 100 & 2 \\
    \bottomrule
  \end{tabular}
\end{table}
% Intervals: of the mean difference, paired by seed, Student's t, 95 %, each comparison by itself.
"""


def test_the_table_in_latex(tmp_path: Path, deeprelax: Command) -> None:
    for seed, (sgd, heat) in enumerate([(0.8, 0.5), (0.6, 0.4)]):
        write_run(tmp_path, "sgd", seed, sgd)
        write_run(tmp_path, "heat", seed, heat)
    assert deeprelax("compare", str(tmp_path), "--latex", "--by", "optimizer,sigma")[0] == 0
    assert (tmp_path / "compare" / "table.tex").read_text() == LATEX


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("a_b & 50 % of #1 {~\\}", r"a\_b \& 50 \% of \#1 \{\textasciitilde{}\textbackslash{}\}"),
        ("$x^2$", r"\$x\textasciicircum{}2\$"),
        ("adamw > sgd (*)", r"adamw \textgreater{} sgd (*)"),
        ("-0.20 [-1.5e-3, +4]", r"$-0.20$ [$-1.5e-3$, $+4$]"),
        ("lr=1e-3, wide-resnet-16-4", "lr=1e-3, wide-resnet-16-4"),
        ("inf", r"$\infty$"),
    ],
)  # fmt: skip
def test_what_latex_would_take_for_a_command_is_escaped(cell: str, expected: str) -> None:
    assert escaped(cell) == expected
