"""The norm of each mini-batch gradient is bounded, and how often that acts is in the records."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from deeprelax.records import checkpoint
from deeprelax.training.clipping import Clip
from deeprelax.training.objective import Autocast, Loss, Objective
from tests.hooks import interrupt_at, spoil
from tests.images import CPU, classification, random_images
from tests.quick import assert_same, directory, train

Compose = Callable[..., DictConfig]
Command = Callable[..., tuple[int, str, str]]


def parameters(*gradients: list[float]) -> list[nn.Parameter]:
    found = [nn.Parameter(torch.zeros(len(each))) for each in gradients]
    for p, gradient in zip(found, gradients, strict=True):
        p.grad = torch.tensor(gradient)
    return found


def test_it_is_that_of_torch_bit_for_bit() -> None:
    for most in (0.1, 5.0, 13.0, 14.0):
        ours, theirs = parameters([3.0, -4.0], [12.0]), parameters([3.0, -4.0], [12.0])
        clip = Clip(most, CPU)
        clip([*ours, nn.Parameter(torch.zeros(2))])  # one without a gradient
        assert float(nn.utils.clip_grad_norm_(theirs, most)) == 13
        assert all(torch.equal(a.grad, b.grad) for a, b in zip(ours, theirs, strict=True))  # type: ignore[arg-type]
        assert clip.counts.tolist() == [most < 13, 1]
    assert [p.grad.tolist() for p in ours if p.grad is not None] == [[3.0, -4.0], [12.0]]
    clip([nn.Parameter(torch.zeros(2))])
    assert (clip.share(), clip.share()) == (0.0, None)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 3e38])
def test_a_norm_that_is_not_finite_leaves_the_gradient(bad: float) -> None:
    """3e38 twice: each is finite, the norm is not. By torch's function it would come out as 0."""
    (p,) = parameters([bad, bad, 1.0])
    clip = Clip(1.0, CPU)
    clip([p])
    assert p.grad is not None
    torch.testing.assert_close(p.grad, torch.tensor([bad, bad, 1.0]), rtol=0, atol=0, equal_nan=True)
    assert clip.counts.tolist() == [0, 1]


def test_what_is_clipped_is_the_mean_over_the_ranks() -> None:
    task = classification(random_images(60), 20)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))

    def averaged(loss: Tensor) -> Tensor:
        for p in net.parameters():
            assert p.grad is not None
            p.grad.fill_(1.0)
        return loss

    objective = Objective(Loss(task, net, Autocast("float32", CPU)), task, after_backward=averaged)
    objective.clip = Clip(1e-3, CPU)
    objective()
    for p in net.parameters():
        torch.testing.assert_close(p.grad, torch.full_like(p, 1e-3 / (math.sqrt(51) + 1e-6)))


def records(run: Path) -> list[dict[str, Any]]:
    return [
        line for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if line["kind"] == "train"
    ]


def test_records_have_the_share_that_was_clipped(compose: Compose, tmp_path: Path) -> None:
    for most, share in ((1e6, {0.0}), (1e-3, {1.0})):
        run = tmp_path / f"{most}"
        train(compose, run, "optimizer=sgd", "epochs=2", f"train.clip_norm={most}")
        assert {line["clipped"] for line in records(run)} == share
    assert {round(line["direction_norm"], 8) for line in records(run)} == {0.001}  # d is the gradient
    train(compose, tmp_path / "none", "optimizer=sgd", "epochs=2")
    assert all("clipped" not in line for line in records(tmp_path / "none"))
    a, b = (checkpoint.load(tmp_path / name / checkpoint.NAME)["model"] for name in ("none", "1000000.0"))
    assert all(torch.equal(value, b[key]) for key, value in a.items())


def test_an_interrupted_run_resumes_with_its_counts(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two records, and after a step that was skipped: 37 gradients, some clipped."""
    given = ["optimizer=sgd", "train.clip_norm=2.5", "train.record_every=3", "train.checkpoint_every=0.5"]
    given += ["train.on_nonfinite=skip"]
    with monkeypatch.context() as patch:
        spoil(patch, [8])
        train(compose, tmp_path / "whole", *given)
    with monkeypatch.context() as patch:
        spoil(patch, [8])
        interrupt_at(patch, 15)
        with pytest.raises(KeyboardInterrupt):
            train(compose, tmp_path / "parts", *given)
    train(compose, tmp_path / "parts", *given)
    assert_same(tmp_path / "whole", tmp_path / "parts")
    shares = [line["clipped"] for line in records(tmp_path / "whole")]
    assert 0 < max(shares) < 1
    taken = [18, 37 - 19]  # 19 evaluations reach 3 passes, one was skipped
    assert all(abs(share * n - round(share * n)) < 1e-9 for share, n in zip(shares, taken, strict=True))


def test_lbfgs_refuses_it_and_a_chain_may_leave_it(deeprelax: Command, compose: Compose, tmp_path: Path) -> None:
    status, _, err = deeprelax("train", "optimizer=lbfgs", "train.clip_norm=1")
    assert (status, err.startswith("deeprelax: train.clip_norm clips gradients, and the line search of")) == (1, True)
    train(compose, tmp_path / "first", "optimizer=sgd", "epochs=1", "train.clip_norm=1")
    more = ["train", f"continue_from={tmp_path / 'first'}", "epochs=20", "optimizer=lbfgs"]
    assert "set train.clip_norm=null" in deeprelax(*more)[2]
    assert deeprelax(*more, "train.clip_norm=null", "output_dir=second")[0] == 0
    assert len(json.loads((directory("second") / "result.json").read_text())["chain"]) == 2
