"""`hardware.cuda_graphs=true`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from deeprelax.configuration.registry import call
from deeprelax.configuration.schema import HardwareConf
from deeprelax.errors import UserError
from deeprelax.parallel.ranks import Ranks
from deeprelax.runs.build import count_gpus
from deeprelax.training.graphs.graph import WARM_UP, Graphed
from deeprelax.training.objective import Autocast, Loss, Objective
from tests.images import CPU, classification, random_images
from tests.quick import LONGER, QUICK, finish, kill_after

Command = Callable[..., tuple[int, str, str]]


def test_cpus_have_none(deeprelax: Command) -> None:
    status, _, err = deeprelax("train", *QUICK, "hardware.cuda_graphs=true", "hardware.device=cpu")
    assert (status, err.count("\n")) == (1, 1)
    assert "hardware.cuda_graphs=true works on GPUs only: leave it out on CPUs" in err


@pytest.mark.parametrize(("share", "compiled"), [("chains", True), ("chains", False), ("data", False)])
def test_gradients_that_ranks_average_are_not_captured(
    share: str, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    conf = HardwareConf(device="cuda", share=share, compile=compiled, sync_batchnorm=False, cuda_graphs=True)
    if share == "chains":
        assert count_gpus(conf, Ranks(0, 2, 0, 2)) == 2
        return
    with pytest.raises(UserError, match=r"on several ranks needs hardware\.share=chains"):
        count_gpus(conf, Ranks(0, 2, 0, 2))


def test_the_parent_of_several_ranks_touches_no_gpu(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU may be one process's alone, and that is the rank's."""

    def launch(*_: object) -> None:
        raise UserError("launched")

    def touch(_: object) -> None:
        raise AssertionError("touched")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", touch)
    monkeypatch.setattr("deeprelax.parallel.launch.launch", launch)
    status, _, err = deeprelax("train", *QUICK, "hardware.device=cuda", "hardware.devices=2")
    assert (status, err) == (1, "deeprelax: launched\n")


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 5)
        return nn.Sequential(*layers).cuda()


def evaluation(model: nn.Module) -> Callable[[Tensor], Tensor]:
    def evaluate(x: Tensor) -> Tensor:
        loss = model(x).square().mean()
        loss.backward()
        return loss

    return evaluate


class Recorded:
    """Stands for torch.cuda.CUDAGraph on a CPU: a replay does the work again, and puts it where the capture did."""

    again: Callable[[], None] = staticmethod(lambda: None)

    def replay(self) -> None:
        self.again()


@pytest.fixture
def graphs_on_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `Graphed` calls of torch.cuda, without a GPU: that it is called rightly there, the gpu tests show."""

    @contextlib.contextmanager
    def nothing(*_: object, **__: object) -> Iterator[None]:
        yield

    def captured(self: Graphed, *inputs: Tensor) -> Recorded:
        state = torch.get_rng_state()
        graph = original(self, *inputs)
        torch.set_rng_state(state)  # a true capture draws nothing
        kept = [p.grad for p in self._parameters]

        def again() -> None:
            before = [p.grad for p in self._parameters]  # a true replay knows memory, not what .grad is
            for p in self._parameters:
                p.grad = None
            self._loss.copy_(self._evaluate(*self._inputs).detach())
            for p, gradient, old in zip(self._parameters, kept, before, strict=True):
                gradient.copy_(p.grad)
                p.grad = old

        graph.again = again
        return graph

    original = Graphed._captured
    monkeypatch.setattr(Graphed, "_captured", captured)
    monkeypatch.setattr("deeprelax.training.graphs.graph.on_another_stream", lambda work: work())
    monkeypatch.setattr("deeprelax.training.graphs.graph.side_stream", lambda: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Recorded)
    monkeypatch.setattr(torch.cuda, "graph", nothing)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "entropy_sgd", "hj"])
def test_an_objective_with_replays_is_the_same_objective(optimizer: str, compiled: bool, graphs_on_cpus: None) -> None:
    """Batches, augmentation, dropout and gradients are those of the evaluation's number. Compiled by no compiler."""
    task = classification(random_images(50, 1, 8, 5), 20, augment="flip_crop")
    runs = []
    for graphs in (False, True):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 5)
            model = nn.Sequential(*layers)
        loss: nn.Module = Loss(task, model, Autocast("float32", CPU))
        if compiled and graphs:
            loss = torch.compile(loss, backend="eager")  # type: ignore[assignment]
        objective = Objective(loss, task, graphs=graphs)
        method = call("optimizer", optimizer, model.parameters())
        losses = [method.step(objective).item() for _ in range(2 * WARM_UP)]
        runs.append([torch.tensor(losses), *model.state_dict().values()])
    replayed = objective._evaluate
    assert isinstance(replayed, Graphed)
    assert isinstance(replayed._graph, Recorded)
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))


def clear(model: nn.Module) -> None:
    for p in model.parameters():
        p.grad = None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_replays_equal_calls_gradients_and_batch_norm_included() -> None:
    model, plain = network(), network()
    graphed, evaluate = Graphed(evaluation(model), model.parameters()), evaluation(plain)
    for k in range(WARM_UP + 4):
        x = torch.randn(32, 20, generator=torch.Generator().manual_seed(k)).cuda()
        results = []
        for net, function in ((model, graphed), (plain, evaluate)):
            clear(net)
            torch.cuda.manual_seed(k)
            loss = function(x).clone()
            results.append([loss, *(p.grad.clone() for p in net.parameters()), *(b.clone() for b in net.buffers())])
            with torch.no_grad():
                for p in net.parameters():
                    p.sub_(0.1 * p.grad)
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_reseeding_between_replays_changes_the_dropout() -> None:
    model = network()
    graphed = Graphed(evaluation(model), model.parameters())
    x = torch.randn(32, 20, device="cuda")  # of equal rows batch norm would leave nothing to drop

    def loss(seed: int) -> float:
        clear(model)
        torch.cuda.manual_seed(seed)
        return graphed(x).item()

    for _ in range(WARM_UP):
        loss(0)
    first, second, again = loss(1), loss(2), loss(1)
    assert first == again
    assert first != second


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_network_that_asks_the_host_cannot_be_captured() -> None:
    model = network()

    def evaluate(x: Tensor) -> Tensor:
        loss = model(x).square().mean()
        loss.backward()
        assert loss.item() > 0
        return loss

    graphed, x = Graphed(evaluate, model.parameters()), torch.ones(32, 20, device="cuda")
    for _ in range(WARM_UP):
        clear(model)
        graphed(x)
    clear(model)
    with pytest.raises(UserError, match="this network cannot be captured"):
        graphed(x)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optimizer", ["sgd", "entropy_sgd", "hj", "heat"])
def test_runs_with_graphs_train_as_well_and_resume_after_a_kill(optimizer: str) -> None:
    run = [*LONGER, f"optimizer={optimizer}", "epochs=20", "hardware.device=cuda", "dataset.augment=none", "model=mlp"]
    graphs = [*run, "hardware.cuda_graphs=true"]
    kill_after(0.5, *graphs, "output_dir=killed")
    errors = [
        json.loads((directory / "result.json").read_text())["test_error"]
        for directory in (finish(*graphs, "output_dir=killed"), finish(*run, "output_dir=plain"))
    ]
    assert max(errors) < 20  # 5 to 9 on a CPU; chance is 90
