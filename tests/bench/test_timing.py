"""Test how `deeprelax bench` takes its times, on clocks that the tests set."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from deeprelax.bench import timing, whole
from tests.images import CPU


def test_ratios_are_over_the_floor_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, costs = [0.0], {"floor": iter([9, 1, 2, 2, 4, 3, 5]), "work": iter([9, 6, 8])}
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def work(name: str) -> None:
        clock[0] += next(costs[name])

    found = timing.beside(lambda: work("floor"), {"work": lambda: work("work")}, 2, CPU)
    assert found["work"].seconds == [6, 8]
    assert found["work"].ratios == [6 / 1.5, 8 / 3]  # floors 1, 2 around the first and 2, 4 around the second
    assert found["work"].median == (6 / 1.5 + 8 / 3) / 2
    assert found["work"].over(found["floor"]) == found["work"].median - 1


def test_what_the_run_has_launched_is_no_time_of_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is behind by a second, on a clock of its own; a pass takes a tenth."""
    clock, behind = [0.0], [1.0]

    def wait(device: object) -> None:
        clock[0], behind[0] = clock[0] + behind[0], 0.0

    def passes() -> None:
        behind[0] += 0.1

    monkeypatch.setattr(timing, "wait", wait)
    monkeypatch.setattr(whole, "wait", wait)
    floor: Any = passes
    between = whole.Between(floor=floor)
    monkeypatch.setattr(passes, "once", passes, raising=False)
    objective: Any = SimpleNamespace(evaluations=0, task=SimpleNamespace(setting=SimpleNamespace(device=CPU)))
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: clock[0])
        between.measure(objective)
    assert between.spent == [pytest.approx(0.2)]  # one more, unmeasured
    assert between.seconds == [pytest.approx(0.1)]


def test_over_another_goes_round_by_round() -> None:
    """The median of the differences, not the difference of the medians."""
    assert timing.Ratio(ratios=[1, 5, 3]).over(timing.Ratio(ratios=[0, 3, 3])) == 1
    assert timing.Ratio(ratios=[1, 2, 9]).over(timing.Ratio(ratios=[4, 1, 8])) == 1
