"""What makes a step cheap, held by its structure and not by the clock."""

from __future__ import annotations

import functools
import gc
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from deeprelax.configuration.registry import call
from deeprelax.models import LeNet
from deeprelax.optim.replicas import Replicated
from deeprelax.optim.scratch import Buffers, Noise
from tests.optimizers import CHOICES, OPTIMIZERS

ALL = pytest.mark.parametrize("name", OPTIMIZERS)


def gradients_only(params: list[nn.Parameter], calls: list[int]) -> Tensor:
    """A closure without autograd, which a device that is not there cannot run."""
    calls.append(1)
    for p in params:
        p.grad = torch.full_like(p, 0.1)
    return torch.full((), 0.5, device=params[0].device)


@ALL
def test_a_step_on_a_gpu_never_makes_the_host_wait(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake tensors have no values, so whatever reads one on the host (item, bool, a mask as index) raises."""
    monkeypatch.setattr(Noise, "fill", lambda self, buffers: [flat.normal_() for flat in buffers.flats])
    monkeypatch.setattr(torch, "_fused_sgd_", lambda *lists, **numbers: None)  # it has no form for fake tensors
    with FakeTensorMode():
        shapes = [(20, 1, 5, 5), (20,), (500, 200)]
        params = [nn.Parameter(torch.empty(shape, device="cuda")) for shape in shapes]
        optimizer, calls = OPTIMIZERS[name].build(params), list[int]()
        for _ in range(2):
            closure = functools.partial(gradients_only, params, calls)
            optimizer.step(closure, again=closure)
        assert len(calls) == 2 * optimizer.evaluations
        with pytest.raises(DataDependentOutputException):
            optimizer.nonfinite_steps()  # this one reads


def test_the_test_above_notices_a_read() -> None:
    with FakeTensorMode(), pytest.raises(DataDependentOutputException):
        bool(torch.isfinite(torch.empty((), device="cuda")))


@ALL
def test_steps_leave_no_tensors_behind(name: str) -> None:
    params = [nn.Parameter(torch.ones(30, 20)), nn.Parameter(torch.ones(30))]
    optimizer = OPTIMIZERS[name].build(params)

    def alive() -> int:
        gc.collect()
        return sum(issubclass(type(found), Tensor) for found in gc.get_objects())

    closure = functools.partial(gradients_only, params, [])
    for _ in range(2):
        optimizer.step(closure, again=closure)
    before, held = alive(), optimizer.memory()
    for _ in range(10):
        optimizer.step(closure, again=closure)
    assert (alive(), optimizer.memory()) == (before, held)


@pytest.mark.parametrize("choice", CHOICES)
def test_weights_gradients_and_the_optimizer_are_six_copies_at_most(choice: str) -> None:
    """With replicas three more of each (itself, its momentum, its direction), and one for the chain.

    What a chain keeps lies there twice: a step that fails puts it back.
    """
    params = list(LeNet(1, 28, 10).parameters())
    optimizer = call("optimizer", choice, params)
    closure = functools.partial(gradients_only, params, [])
    optimizer.step(closure, again=closure)
    most = 5 + 3 * optimizer.replicas if isinstance(optimizer, Replicated) else 4
    if optimizer.defaults.get("inner_state") == "keep":
        most += 4 if optimizer.defaults["inner"] == "adamw" else 2
    assert optimizer.memory() <= most * sum(p.nbytes for p in params)


def test_buffers_are_flat_and_in_the_parameters_memory_format() -> None:
    weight = torch.zeros(4, 3, 5, 5).to(memory_format=torch.channels_last)
    params = [weight, torch.zeros(7), torch.zeros(2, dtype=torch.float64)]
    buffers = Buffers(params)
    assert [len(flat) for flat in buffers.flats] == [307, 2]
    views = buffers.like(params)
    assert [v.stride() for v in views] == [p.stride() for p in params]
    buffers.flats[0].copy_(torch.arange(307.0))
    assert views[1].tolist() == list(range(300, 307))
    assert sorted(views[0].flatten().tolist()) == list(range(300))


def test_an_optimizer_loads_no_compiler() -> None:
    code = (
        "import sys, torch\n"
        "from deeprelax.optim import EntropySGD\n"
        "p = torch.nn.Parameter(torch.ones(3))\n"
        "o = EntropySGD([p], inner_steps=2)\n"
        "def closure():\n"
        "    o.zero_grad(); loss = p.square().sum(); loss.backward(); return loss\n"
        "o.step(closure); o.load_state_dict(o.state_dict())\n"
        "heavy = {'torch._dynamo', 'torchvision', 'sklearn', 'tensorboard', 'scipy', 'hydra'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_room_needs_torch_alone() -> None:
    code = (
        "import sys, deeprelax.optim as optim\n"
        "assert 'torch' not in sys.modules\n"
        "import torch\n"
        "p = torch.nn.Parameter(torch.ones(3))\n"
        "for name in {path.partition(':')[2] for path, _ in optim.CHOICES.values()}:\n"
        "    o = getattr(optim, name)([p])\n"
        "    def closure():\n"
        "        o.zero_grad(); loss = p.square().sum(); loss.backward(); return loss\n"
        "    closure.again = closure\n"
        "    o.step(closure)\n"
        "others = {m for m in sys.modules if m.startswith('deeprelax.') and not m.startswith('deeprelax.optim')}\n"
        "others |= {'hydra', 'omegaconf', 'yaml'} & set(sys.modules)\n"
        "assert not others, others\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
