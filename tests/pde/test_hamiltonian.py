"""`deeprelax pde hamiltonian` on a run of a second: what it writes, and one sentence for what it cannot follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.quick import RUN, directory

Command = Callable[..., tuple[int, str, str]]
ODENET = [*RUN, "model=odenet", "model.width=8", "dataset.image_size=8", "epochs=1", "output_dir=runs"]


@pytest.mark.parametrize("time", ["false", "true"])
def test_a_trained_network_is_followed_along_its_depth(time: str, deeprelax: Command, tmp_path: Path) -> None:
    """H is kept to order 4 by the weights of the run where f has no time; p.dx always."""
    assert deeprelax(*ODENET, f"model.time={time}")[0] == 0
    status, out, err = deeprelax("pde", "hamiltonian", f"run={directory('runs')}", "images=4", "steps=4,16,8")
    assert (status, err) == (0, "")
    assert "before training, 2 steps: mean H " in out
    assert "trained: drift of H, relative (steps): " in out
    folder = tmp_path / "outputs/pde/hamiltonian"
    assert {file.suffix for file in folder.iterdir()} == {".npz", ".pdf", ".png"}
    with np.load(folder / "hamiltonian.npz") as arrays:
        kept = {n: arrays[f"trained, {n} steps: hamiltonian"] for n in (2, 4, 8, 16)}
        drifts = {n: np.abs(h - h[:, :1]).max() for n, h in kept.items()}
        pairing = arrays["trained, 16 steps: pairing"]
        before, after = (arrays[f"{name}, 16 steps: momentum_norm"] for name in ("before training", "trained"))
    assert kept[16].shape == pairing.shape == (4, 17)
    assert np.abs(pairing - pairing[:, :1]).max() < 1e-12
    assert not np.allclose(before, after)
    assert bool(drifts[8] / drifts[16] > 10) == (time == "false")  # 16 in the limit, and 1


def test_what_cannot_be_followed_gets_one_sentence(deeprelax: Command) -> None:
    assert deeprelax(*RUN, "epochs=1", "output_dir=other")[0] == 0
    for run, message in [
        (
            directory("other"),
            f"run={directory('other')} has model=lenet, whose depth is no time: give a run of model=od",
        ),
        ("nowhere", "nowhere is not a directory: give the directory of a run"),
    ]:
        status, out, err = deeprelax("pde", "hamiltonian", f"run={run}")
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert err.startswith(f"deeprelax: {message}")
    assert "steps=[0] is out of range" in deeprelax("pde", "hamiltonian", "steps=0")[2]
