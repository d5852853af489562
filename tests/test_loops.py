"""The blocks of docs/loops.md, each run in a program of its own; those of a framework where it is installed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler, TensorDataset

from deeprelax.optim import SGD, EntropySGD, Heat, Relaxation

TEXT = (Path(__file__).parents[1] / "docs" / "loops.md").read_text(encoding="utf-8")
FIRST, *BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
FRAMEWORKS = ("accelerate", "transformers", "pytorch_lightning", "ignite", "skorch")


def framework(block: str) -> str | None:
    """The framework that a block imports; None for plain PyTorch."""
    return next((name for name in FRAMEWORKS if re.search(rf"^(from|import) {name}\b", block, re.MULTILINE)), None)


def test_every_framework_has_a_block() -> None:
    assert {framework(block) for block in BLOCKS} == {None, *FRAMEWORKS}


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=f"{framework(block) or 'plain'}-{i}", marks=[pytest.mark.slow] * bool(framework(block)))
        for i, block in enumerate(BLOCKS)
    ],
)
def test_the_block_runs(block: str, tmp_path: Path) -> None:
    name = framework(block)
    if name is not None and importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install '.[integrations]'")
    done = subprocess.run([sys.executable, "-c", f"{FIRST}\n{block}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "repeats one batch" not in done.stderr


def net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Linear(4, 1)


MAKE: dict[str, Callable[..., Relaxation]] = {
    "sgd": lambda p: SGD(p, lr=0.01),
    "entropy_sgd": lambda p: EntropySGD(p, inner_steps=3, lr=0.5, inner_lr=0.01, temperature=1e-4),
    "adamw": lambda p: EntropySGD(p, inner_steps=3, outer="adamw", inner="adamw"),
    "heat": lambda p: Heat(p, samples=2, lr=0.01),
}
DATA = TensorDataset(*(torch.randn(96, n, generator=torch.Generator().manual_seed(n)) for n in (4, 1)))


def closed(make: Callable[..., Relaxation]) -> Tensor:
    """Weights after a pass in batches of 8, by closures."""
    model, batches = net(), iter(DataLoader(DATA, 8))
    optimizer = make(model.parameters())

    def closure() -> Tensor:
        inputs, targets = next(batches)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        return loss

    for _ in range(12 // optimizer.evaluations):
        optimizer.step(closure)
    return next(model.parameters()).detach()


def by_accelerate(model: nn.Module, optimizer: Relaxation) -> None:
    accelerator = pytest.importorskip("accelerate").Accelerator(cpu=True)
    model, prepared, loader = accelerator.prepare(model, optimizer, DataLoader(DATA, 8))
    for inputs, targets in loader:
        prepared.zero_grad()
        accelerator.backward(nn.functional.mse_loss(model(inputs), targets))
        prepared.step()


def by_ignite(model: nn.Module, optimizer: Relaxation) -> None:
    engine = pytest.importorskip("ignite.engine")
    engine.create_supervised_trainer(model, optimizer, nn.MSELoss()).run(DataLoader(DATA, 8), max_epochs=1)


class Regression(nn.Module):
    """What the Trainer of transformers calls a model."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        outputs = self.inner(inputs)
        return {"loss": nn.functional.mse_loss(outputs, labels), "logits": outputs}


def by_transformers(model: nn.Module, optimizer: Relaxation) -> None:
    transformers = pytest.importorskip("transformers")

    class InOrder(transformers.Trainer):  # type: ignore[name-defined,misc]
        def _get_train_sampler(self, *rest: object) -> SequentialSampler:
            return SequentialSampler(DATA)

    arguments = transformers.TrainingArguments(
        "trainer", num_train_epochs=1, per_device_train_batch_size=8, report_to=[], save_strategy="no", use_cpu=True,
        logging_strategy="no", max_grad_norm=0, disable_tqdm=True,
    )  # fmt: skip
    examples = [{"inputs": inputs, "labels": targets} for inputs, targets in DATA]
    same_rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda call: 1.0)
    InOrder(Regression(model), arguments, train_dataset=examples, optimizers=(optimizer, same_rate)).train()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("loop", [by_accelerate, by_ignite, by_transformers])
def test_loops_of_others_end_where_a_closure_does(loop: Callable[[nn.Module, Relaxation], None], name: str) -> None:
    model = net()
    optimizer = MAKE[name](model.parameters())
    optimizer.begin()
    loop(model, optimizer)
    with optimizer.swapped_to_x():
        assert torch.equal(next(model.parameters()), closed(MAKE[name]))
