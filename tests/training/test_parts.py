"""Budget, schedules, batch norm, evaluation, records and files, each alone."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from deeprelax import files
from deeprelax.data.batches import Batches, Images
from deeprelax.data.images import Split
from deeprelax.data.normalize import fit
from deeprelax.errors import UserError
from deeprelax.optim import SGD
from deeprelax.optim.batchnorm import reestimate_batchnorm
from deeprelax.records import checkpoint
from deeprelax.records.metrics import Records
from deeprelax.training.cadence import Budget
from deeprelax.training.evaluation import every_image, score
from deeprelax.training.objective import Autocast, Objective
from deeprelax.training.schedules import make_schedule, set_lr

CPU = torch.device("cpu")
NO_AUTOCAST = Autocast("float32", CPU)


def images(n: int = 2345, channels: int = 1) -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, channels, 4, 4), dtype=torch.uint8, generator=generator)
    return Images(Split(pixels, torch.randint(3, (n,), generator=generator)), fit("mean_std", pixels), CPU)


def network() -> nn.Module:
    return nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


def test_budget_is_the_same_for_every_optimizer_to_within_a_step() -> None:
    assert Budget(5, 60_000, 128, 1).evaluations == 2343
    assert Budget(5, 60_000, 128, 20).outer_steps == 117
    assert Budget(0.001, 1000, 128, 20).outer_steps == 1
    assert Budget(3, 100, 50, 1).passes(6) == 3.0
    assert [Budget(epochs, 100, 1, 1).evaluations for epochs in (0.29, 0.57, 1.1)] == [29, 57, 110]


def test_crosses_fires_once_for_each_multiple() -> None:
    budget = Budget(10, 1437, 128, 7)
    tenth = Budget(50, 1000, 100, 1)
    assert [n for n in range(1, 21) if tenth.crosses(0.3, n)] == [3, 6, 9, 12, 15, 18]
    fired = [n for n in range(1, 17) if budget.crosses(2, 7 * n)]
    assert [math.floor(budget.passes(7 * n) / 2) for n in fired] == [1, 2, 3, 4]
    assert not any(budget.crosses(None, n) for n in range(20))


def test_schedules() -> None:
    step = make_schedule("step", [2.0, 4.0], 0.1, 5)
    assert [step(p) for p in (0, 1.99, 2, 3.9, 4)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    cosine = make_schedule("cosine", [], 0.1, 10)
    assert [cosine(p) for p in (0, 5, 10, 12)] == pytest.approx([1, 0.55, 0.1, 0.1])
    assert make_schedule("constant", [], 1.0, 10)(7) == 1


def test_set_lr_is_relative_to_the_initial_lr_of_each_group() -> None:
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = SGD([{"params": [a]}, {"params": [b], "lr": 0.4}], lr=0.2)
    for factor in (0.5, 0.1):
        set_lr(optimizer, factor)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.2 * factor, 0.4 * factor])


def test_score_counts_every_image_once() -> None:
    data, net = images(2345), network().eval()
    everything, labels = data.chunk(0, 2345)
    with torch.no_grad():
        logits = net(everything)
    expected = {
        "loss": nn.functional.cross_entropy(logits.double(), labels).item(),
        "error": 100 * (logits.argmax(1) != labels).double().mean().item(),
    }
    net.train()
    found = score(net, every_image(data), NO_AUTOCAST)
    assert found == pytest.approx(expected, rel=1e-6)
    assert net.training


def test_reestimated_statistics_are_the_mean_over_the_batches_and_all_else_is_as_before() -> None:
    data, net = images(400), network()
    batches = Batches(data, 100, 0)
    reestimate_batchnorm(net, (batches[k] for k in range(4)))
    layer = net[3]
    with torch.no_grad():
        outputs = [net[2](batches[k][0].flatten(1)) for k in range(4)]  # no dropout
    torch.testing.assert_close(layer.running_mean, torch.stack([o.mean(0) for o in outputs]).mean(0))
    torch.testing.assert_close(layer.running_var, torch.stack([o.var(0) for o in outputs]).mean(0))
    assert layer.momentum == 0.1
    assert all(module.training for module in net.modules())


def test_reestimation_takes_a_dataloader() -> None:
    data, nets = images(400), (network(), network())
    nets[1].load_state_dict(nets[0].state_dict())
    inputs, labels = data.chunk(0, 400)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, labels), 100)
    reestimate_batchnorm(nets[0], loader, device="cpu")
    reestimate_batchnorm(nets[1], inputs.split(100))
    for one, other in zip(nets[0].buffers(), nets[1].buffers(), strict=True):
        assert torch.equal(one, other)
    assert nets[0][3].num_batches_tracked == 4


def test_reestimation_restores_everything_when_a_batch_fails() -> None:
    def broken() -> Iterator[torch.Tensor]:
        yield images(100).chunk(0, 10)[0]
        raise RuntimeError("broken")

    net = network()
    with pytest.raises(RuntimeError, match="broken"):
        reestimate_batchnorm(net, broken())
    assert net[3].momentum == 0.1
    assert all(module.training for module in net.modules())


def test_the_objective_is_a_function_of_its_count() -> None:
    net = network()
    objective = Objective(net, Batches(images(), 64, 3), 3, "float32")
    losses = [objective().item() for _ in range(4)]
    assert objective.evaluations == 4
    assert len(set(losses)) == 4
    again = Objective(net, Batches(images(), 64, 3), 3, "float32")
    again.evaluations = 2
    torch.rand(7)
    assert again().item() == losses[2]


def test_records_behind_a_checkpoint_are_cut_off_on_resume(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.write("train", {"gradient_evaluations": 1, "passes": 0.1}, {"inner_loss": 2.0})
    state = records.state()
    records.write("train", {"gradient_evaluations": 2, "passes": 0.2}, {"inner_loss": 1.0})
    records.close()
    resumed = Records(tmp_path, state, 1)
    resumed.write("train", {"gradient_evaluations": 2, "passes": 0.2}, {"inner_loss": 1.5})
    resumed.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["inner_loss"] for line in lines] == [2.0, 1.5]


@pytest.mark.parametrize("damage", ["gone", "shorter", "changed"])
def test_records_that_the_checkpoint_does_not_know_are_refused(damage: str, tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.write("train", {"gradient_evaluations": 1, "passes": 0.1}, {"inner_loss": 2.0})
    state = records.state()
    records.close()
    file = tmp_path / "metrics.jsonl"
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-5] if damage == "shorter" else content.replace(b"2.0", b"1.0"))
    with pytest.raises(UserError, match=r"metrics\.jsonl is not what the checkpoint goes on from"):
        Records(tmp_path, state, 1)
    assert file.exists() is (damage != "gone")  # nothing was written
    file.write_bytes(content)
    Records(tmp_path, state, 1).close()


def test_checkpoints_are_whole_or_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(tmp_path, {"model": {"w": torch.arange(1000.0)}, "evaluations": 3})
    assert checkpoint.load(path)["evaluations"] == 3
    assert torch.load(path, weights_only=True)["evaluations"] == 3  # others can read it too
    content = path.read_bytes()
    torch.save({"format": checkpoint.FORMAT}, path)
    for bad in (path.read_bytes(), content[:-100], content + b"more", b"not a checkpoint", b""):
        path.write_bytes(bad)
        with pytest.raises(UserError, match=r"checkpoint\.pt is not a whole checkpoint"):
            checkpoint.load(path)
    with pytest.raises(UserError, match="is not there"):
        checkpoint.load(tmp_path / "none.pt")


def test_a_bit_flipped_anywhere_in_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(tmp_path, {"model": {"w": torch.arange(10.0)}})
    content = bytearray(path.read_bytes())
    for bit in range(0, 8 * len(content), 11):  # all places in a byte, all parts of the file
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(UserError, match="is not a whole checkpoint"):
            checkpoint.load(path)
        content[bit // 8] ^= 1 << bit % 8


def test_a_damaged_checkpoint_is_named_and_the_previous_one_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert checkpoint.latest(tmp_path) is None
    for evaluations in (3, 5):
        checkpoint.save(tmp_path, {"evaluations": evaluations})
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found["evaluations"] == 5
    (tmp_path / "checkpoint.pt").write_bytes((tmp_path / "checkpoint.pt").read_bytes()[:-30])
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found["evaluations"] == 3
    assert "checkpoint.pt is not a whole checkpoint" in caplog.text
    assert "going on from checkpoint.previous.pt" in caplog.text
    assert checkpoint.latest(tmp_path, set_aside=True) == found
    checkpoint.save(tmp_path, {"evaluations": 4})  # the damaged one does not take the place of the whole one
    assert checkpoint.load(tmp_path / "checkpoint.previous.pt") == found
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"checkpoint\.pt is not a whole .*checkpoint\.previous\.pt is not a whole"):
        checkpoint.latest(tmp_path)


def test_a_failing_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    files.write_json(path, {"a": 1})

    def fail(file: object) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        files.replace(path, fail)
    assert json.loads(path.read_text()) == {"a": 1}


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with (
        files.sole_writer(tmp_path),
        pytest.raises(UserError, match="is being written by process"),
        files.sole_writer(tmp_path),
    ):
        pass
    with files.sole_writer(tmp_path):
        pass


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an option of glibc's")
def test_freed_memory_is_kept_and_used_again() -> None:
    code = """
import resource, torch
from deeprelax.runs.build import keep_freed_memory
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    before = faults()
    for _ in range(5):
        blocks = [torch.ones(5_000_000) for _ in range(4)]
        del blocks
    return faults() - before
work()
default = work()
assert keep_freed_memory()
work()
print(default, work())
"""
    # glibc moves its threshold by itself, and with luck keeps blocks of this size; fixed, it gives them back each time.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    default, kept = map(int, done.stdout.split())
    assert default > 1000
    assert kept < default / 10
