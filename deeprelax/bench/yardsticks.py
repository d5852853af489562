"""Measure our loop against loops as public code has them, written from their descriptions.

`PortStyle` is Entropy-SGD as its public PyTorch ports work: a Python loop over the parameters, deep copies of weights
and state at each outer step, a Python number read from the loss at each closure. It is fed in two ways: images read one
by one through torchvision's transforms and a `DataLoader`, and images that lie in memory as one tensor, of which a
batch is an index, as the authors' own PyTorch code has them. Not in it: the gradient of each step that their code takes
and does not use.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

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

Batches = Iterator[tuple[Tensor, Tensor]]
MEAN, STD = 0.5, 0.25  # what the yardsticks normalise by, in each channel


class Pictures(Dataset[tuple[Tensor, int]]):
    """A data set in torchvision's manner: each image becomes a PIL picture and is transformed when it is indexed."""

    def __init__(self, split: Split) -> None:
        self._pixels = split.images.permute(0, 2, 3, 1).contiguous().numpy()
        self._labels = split.labels
        channels = self._pixels.shape[-1]
        self._transform = transforms.Compose(
            [transforms.ToPILImage(), transforms.ToTensor(), transforms.Normalize([MEAN] * channels, [STD] * channels)]
        )

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(self._pixels[index]), int(self._labels[index])


def endless(split: Split, batch_size: int, workers: int, device: torch.device) -> Batches:
    """Yield shuffled batches of a DataLoader, pass after pass, on the device."""
    loader = DataLoader(
        Pictures(split), batch_size, shuffle=True, drop_last=len(split) >= batch_size, num_workers=workers,
        pin_memory=device.type == "cuda", persistent_workers=workers > 0,
    )  # fmt: skip
    while True:
        for images, labels in loader:
            yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def in_memory(split: Split, batch_size: int, device: torch.device) -> Batches:
    """Yield random batches of images that lie in memory as floats, normalised once; drawn with replacement."""
    images, labels = split.images.float().div_(255).sub_(MEAN).div_(STD), split.labels
    if device.type == "cuda":
        images, labels = images.pin_memory(), labels.pin_memory()
    index = torch.empty(batch_size, dtype=torch.int64)
    while True:
        index.random_(len(labels))
        batch = images.index_select(0, index), labels.index_select(0, index)
        yield batch[0].to(device, non_blocking=True), batch[1].to(device, non_blocking=True)


def closure(model: nn.Module, batches: Batches, autocast: Callable[[], torch.autocast]) -> Callable[[], float]:
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
    loaded = endless(split, conf.batch_size, conf.workers, device)
    steps, autocast = max(1, conf.evaluations // 20), Autocast(conf.hardware.precision, device)

    def fresh() -> nn.Module:
        return build_model(conf.model, task, 0, device, channels_last=conf.hardware.channels_last).train()

    def ours(kind: type[Relaxation], steps: int) -> Work:
        model = fresh()
        optimizer = kind(model.parameters(), lr=0.0)  # type: ignore[call-arg]
        objective = Objective(Loss(task, model, autocast), task, graphs=conf.hardware.cuda_graphs)
        return lambda: [optimizer.step(objective) for _ in range(steps)]

    def theirs(optimizer_of: Callable[[nn.Module], Any], batches: Batches, steps: int) -> Work:
        # contiguous: channels_last is our choice, not that of the public code
        model = fresh().to(memory_format=torch.contiguous_format)
        optimizer, evaluate = optimizer_of(model), closure(model, batches, autocast)
        return lambda: [optimizer.step(evaluate) for _ in range(steps)]

    def sgd(model: nn.Module) -> torch.optim.SGD:
        return torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9, nesterov=True)

    ports = {
        "Entropy-SGD as in public ports, DataLoader": theirs(PortStyle, loaded, steps),
        "Entropy-SGD as in public ports, images in memory": theirs(
            PortStyle, in_memory(split, conf.batch_size, device), steps
        ),
    }
    plain = {"torch.optim.SGD, DataLoader": theirs(sgd, loaded, 20 * steps)}
    found = beside(ours(EntropySGD, steps), ports, conf.repeats, device)
    found |= beside(ours(SGD, 20 * steps), plain, conf.repeats, device)
    return {name: found[name] for name in (*ports, *plain)}
