"""Measure our loop against loops as public code has them, written from their descriptions.

`PortStyle` is Entropy-SGD as its public PyTorch ports work: a Python loop over the parameters, deep copies of weights
and state at each outer step, a Python number read from the loss at each closure. Both yardsticks read their images one
by one through torchvision's transforms and a `DataLoader`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from ..configuration.schema import BenchConf
from ..data.images import Split
from ..optim import SGD, EntropySGD, Relaxation
from ..runs.build import build_model
from ..tasks.task import Task
from ..training.objective import Autocast, Loss, Objective
from .timing import Ratio, Work, beside


class Pictures(Dataset[tuple[Tensor, int]]):
    """A data set in torchvision's manner: each image becomes a PIL picture and is transformed when it is indexed."""

    def __init__(self, split: Split) -> None:
        self._pixels = split.images.permute(0, 2, 3, 1).contiguous().numpy()
        self._labels = split.labels
        channels = self._pixels.shape[-1]
        self._transform = transforms.Compose(
            [transforms.ToPILImage(), transforms.ToTensor(), transforms.Normalize([0.5] * channels, [0.25] * channels)]
        )

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(self._pixels[index]), int(self._labels[index])


def endless(split: Split, batch_size: int, workers: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield shuffled batches of a DataLoader, pass after pass, on the device."""
    loader = DataLoader(
        Pictures(split), batch_size, shuffle=True, drop_last=len(split) >= batch_size, num_workers=workers,
        pin_memory=device.type == "cuda", persistent_workers=workers > 0,
    )  # fmt: skip
    while True:
        for images, labels in loader:
            yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def closure(
    model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], autocast: Callable[[], torch.autocast]
) -> Callable[[], float]:
    """The closure of a step: zero_grad, forward, backward on the next batch; it returns the loss as a Python number."""

    def evaluate() -> float:
        images, labels = next(batches)
        model.zero_grad()
        with autocast():
            loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        return loss.item()

    return evaluate


class PortStyle:
    """Entropy-SGD, one parameter at a time; with noise 0 the same iteration as `optim.EntropySGD`.

    lr is 0, as it is for our loop: no measurement moves x.
    """

    def __init__(self, model: nn.Module, inner_steps: int = 20, gamma: float = 1e4, noise: float = 1e-4) -> None:
        self.params = list(model.parameters())
        self.inner_steps, self.gamma, self.noise = inner_steps, gamma, noise
        self.lr, self.inner_lr, self.momentum, self.averaging = 0.0, 0.1, 0.9, 0.75

    def step(self, evaluate: Callable[[], float]) -> float:
        """One outer step of `inner_steps` closures."""
        start = copy.deepcopy([p.data for p in self.params])
        average = copy.deepcopy([p.data for p in self.params])
        velocity = [torch.zeros_like(p.data) for p in self.params]
        loss = 0.0
        for _ in range(self.inner_steps):
            loss = evaluate()
            for p, x, mu, v in zip(self.params, start, average, velocity, strict=True):
                assert p.grad is not None
                force = p.grad.data.clone()
                force.add_(p.data - x, alpha=1 / self.gamma)
                force.add_(torch.randn_like(p.data), alpha=self.noise / math.sqrt(self.inner_lr / 2))
                v.mul_(self.momentum).add_(force)
                force.add_(v, alpha=self.momentum)
                p.data.add_(force, alpha=-self.inner_lr)
                mu.mul_(self.averaging).add_(p.data, alpha=1 - self.averaging)
        for p, x, mu in zip(self.params, start, average, strict=True):
            p.data.copy_(x)
            p.data.add_(x - mu, alpha=-self.lr)
        return loss


def compared(conf: BenchConf, task: Task, split: Split) -> dict[str, Ratio]:
    """Ratios of the yardsticks' time to that of our loop with the same optimizer and number of gradient evaluations.

    conf.workers: processes of the DataLoader. split: the training images, on the CPU.
    """
    device = task.setting.device
    batches = endless(split, conf.batch_size, conf.workers, device)
    steps, autocast = max(1, conf.evaluations // 20), Autocast(conf.hardware.precision, device)

    def fresh() -> nn.Module:
        return build_model(conf.model, task, 0, device).train()

    def ours(kind: type[Relaxation], steps: int) -> Work:
        model = fresh()
        optimizer = kind(model.parameters(), lr=0.0)  # type: ignore[call-arg]
        objective = Objective(Loss(task, model, autocast), task, graphs=conf.hardware.cuda_graphs)
        return lambda: [optimizer.step(objective) for _ in range(steps)]

    # contiguous: channels_last is our choice, not that of the public code
    port_model, plain_model = (fresh().to(memory_format=torch.contiguous_format) for _ in range(2))
    port = PortStyle(port_model)
    plain = torch.optim.SGD(plain_model.parameters(), lr=0.0, momentum=0.9, nesterov=True)
    port_closure, plain_closure = (closure(model, batches, autocast) for model in (port_model, plain_model))

    def ported() -> None:
        for _ in range(steps):
            port.step(port_closure)

    def plainly() -> None:
        for _ in range(20 * steps):
            plain.step(plain_closure)

    names = "Entropy-SGD as in public ports", "torch.optim.SGD with a DataLoader"
    return {
        names[0]: beside(ours(EntropySGD, steps), {"it": ported}, conf.repeats, device)["it"],
        names[1]: beside(ours(SGD, 20 * steps), {"it": plainly}, conf.repeats, device)["it"],
    }
