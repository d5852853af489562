"""What a run adds to the passes, counted in operations, on tensors of a GPU that need not be there."""

from __future__ import annotations

import fractions
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from deeprelax.configuration.registry import call
from deeprelax.models import LeNet
from deeprelax.optim.scratch import Noise
from deeprelax.training import journal
from deeprelax.training.cadence import Budget
from deeprelax.training.guard import GuardedStep
from deeprelax.training.journal import Losses
from deeprelax.training.objective import Autocast, Loss, Objective
from tests.images import CPU, classification, random_images

# views, memory and questions: none is a kernel
FREE = {"detach", "view", "slice", "select", "unbind", "alias", "as_strided", "empty", "empty_like", "device"}


class Operations(TorchDispatchMode):
    """Counts, by their names, what would be a launch or more."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()
        self.arguments: list[tuple[str, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        room, _, name = func.name().partition("::")
        name = name.partition(".")[0]
        if room == "aten" and name not in FREE:
            self.names[name] += 1
            self.arguments.append((name, args))
        return func(*args, **(kwargs or {}))

    @property
    def total(self) -> int:
        return sum(self.names.values())


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no form for fake tensors, as one operation that has."""
    monkeypatch.setattr(Noise, "fill", lambda self, buffers: [flat.normal_() for flat in buffers.flats])
    monkeypatch.setattr(torch, "_fused_sgd_", lambda y, d, *lists, **numbers: torch._foreach_add_(y, d))


def of_a_step(name: str) -> Counter[str]:
    """Those of LeNet's step beside the gradient, and of keeping its loss for the record."""
    with FakeTensorMode():
        params = [nn.Parameter(torch.empty(p.shape, device="cuda")) for p in LeNet(1, 28, 10).parameters()]
        gradients = [torch.empty_like(p) for p in params]
        optimizer, loss = call("optimizer", name, params), torch.empty((), device="cuda")
        losses = Losses(torch.device("cuda"))

        def closure() -> Tensor:
            for p, gradient in zip(params, gradients, strict=True):
                p.grad = gradient
            return loss

        optimizer.step(closure)
        with Operations() as counted:
            losses.keep(optimizer.step(closure))
        return counted.names


@pytest.mark.parametrize(("name", "most"), [("sgd", 14), ("heat", 30)])
def test_a_step_on_a_gpu_is_few_operations(name: str, most: int, as_on_a_gpu: None) -> None:
    """SGD had 37, its record included, heat 53; of heat's 12 are the norms of LeNet's 12 tensors."""
    counted = of_a_step(name)
    assert sum(counted.values()) <= most, counted
    assert counted["linalg_vector_norm"] == (1 if name == "sgd" else 13)
    assert counted["clone"] == 2  # the closure may overwrite its loss, a replay does


def test_losses_are_added_in_their_order_and_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits as one by one, in double precision; those that are not finite do not count."""
    monkeypatch.setattr(journal, "MOST", 10)
    generator = torch.Generator().manual_seed(0)
    values = (torch.rand(64, generator=generator) * 10 ** torch.linspace(-6, 6, 64)).tolist()
    values[3], values[20] = float("nan"), float("inf")
    for stops in ([], [7, 30]):  # checkpoints, by which a run may be resumed
        losses, total = Losses(torch.device("cpu")), torch.zeros((), dtype=torch.float64)
        kept = torch.zeros(())
        for i, value in enumerate(values):
            kept.fill_(value)  # overwritten by the next
            with Operations() as counted:
                losses.keep(kept)
            assert counted.names.keys() <= {"clone", "stack"}
            total += torch.tensor(value) if i not in (3, 20) else 0.0
            if i in stops:
                state = losses.state()
                losses = Losses(torch.device("cpu"))
                losses.load_state(state)
        assert losses.take() == (total.item(), 62)
        assert losses.take() == (0.0, 0)


def test_a_budget_computes_its_fractions_once(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(10.7, 1437, 128, 7)

    def asked() -> list[object]:
        return [budget.spent(700, 100), *(budget.crosses(0.3, n, n - 7) for n in range(7, 800, 7)), budget.evaluations]

    first = asked()
    for name in ("__new__", "__mul__", "__rmul__", "__truediv__", "__rtruediv__", "__floor__"):
        monkeypatch.setattr(fractions.Fraction, name, None)
    assert asked() == first


def test_buffers_are_copied_in_lists_of_one_type() -> None:
    """torch copies a list of two types one by one; a network with batch norm has statistics and counts."""
    task = classification(random_images(50, 1, 8, 5), 20)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), *(nn.BatchNorm1d(5) for _ in range(5)))
    optimizer = call("optimizer", "sgd", model.parameters())
    objective = Objective(Loss(task, model, Autocast("float32", CPU)), task)

    def step(_: object) -> Tensor:
        for buffer in model.buffers():
            buffer.add_(1)
        optimizer.finite = False
        return torch.zeros(())

    optimizer.step = step
    guarded = GuardedStep(model, optimizer, objective, can_abort=True, skips=True)
    before = [buffer.clone() for buffer in model.buffers()]
    with Operations() as counted:
        guarded(None)
    copies = [args for name, args in counted.arguments if name == "_foreach_copy_"]
    assert len(copies) == 4  # two types, there and back
    assert all(len({t.dtype for tensors in args[:2] for t in tensors}) == 1 for args in copies)
    assert all(torch.equal(buffer, old) for buffer, old in zip(model.buffers(), before, strict=True))
