"""Use the network of a run: everything that it needs, in the checkpoint and as model.json, and it as a module."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..configuration.check import keywords
from ..configuration.registry import call
from ..configuration.schema import TrainConf
from ..data.normalize import from_state
from ..data.sources.pictures import Pictures
from ..errors import UserError
from ..optim.batchnorm import has_batch_norm
from ..randomness import Purpose, seeded
from ..records import checkpoint
from ..records.directory import CHECKPOINT, RunDirectory
from ..tasks.task import Task
from .build import load_weights, no_file
from .precision import single_precision
from .restored import restored
from .weights import of_kind

log = logging.getLogger(__name__)
FORMAT = 1  # one more when the meaning of what `description` returns changes
MOST_NUMBERS = 1000  # of a tensor that model.json holds; of larger ones it names the place


class Classifier(nn.Module):
    """A network with its normalisation: uint8 (N, channels, size, size) to probabilities (N, classes), float32.

    With `draws` the network's weights are random, and the probabilities are the mean over so many draws, the same at
    each call. Raises ValueError for input of another type or shape.

    Attributes:
        network: the trained network, from normalised images to logits.
        classes: their names, in the order of the columns.
        shape: (channels, size, size) of an image, size in pixels.
        of: which weights of its run these are, in words.
    """

    of = ""

    def __init__(
        self, network: nn.Module, classes: list[str], shape: tuple[int, int, int], normalization: Mapping[str, Tensor],
        draws: int | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.network, self.classes, self.shape = network, classes, shape
        self.draws, self.seed = draws, seed
        self._names = list(normalization)
        for name, tensor in normalization.items():
            self.register_buffer(name, tensor.clone())

    def forward(self, images: Tensor) -> Tensor:
        return self.log_probabilities(images).exp()

    def log_probabilities(self, images: Tensor) -> Tensor:
        """The logarithm of `forward`, without loss of precision where a probability is small."""
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != self.shape:
            raise ValueError(
                f"the network takes uint8 images of shape (N, {', '.join(map(str, self.shape))}), "
                f"not {str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
            )
        normalization = from_state({name: self.get_buffer(name) for name in self._names})
        inputs = normalization(images).contiguous()  # for networks that call .view
        if self.draws is None:
            return self._log_p(inputs)
        with seeded(inputs.device, self.seed, Purpose.EVALUATION, "predict"):
            draws = torch.stack([self._log_p(inputs) for _ in range(self.draws)])
        return draws.logsumexp(0) - math.log(self.draws)

    def _log_p(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.network(inputs)
        return found.float().log_softmax(1)


def load_model(run: str | os.PathLike[str], weights: str = "last") -> Classifier:
    """The network of an image-classification run, normalisation inside, in eval mode on the CPU; needs no data set.

    uint8 (N, channels, size, size) in, probabilities (N, classes) out; `.network` is the trained network, `.classes`
    their names, `.of` what its weights are. A network of your own must be importable, as in training.

    Args:
        run: directory of a run, as printed by `deeprelax train`.
        weights: "last", those of the run's last checkpoint; "best", of the evaluation with the best validation score
            (train.keep=best); "average", the mean of x (train.average). Batch-norm statistics are those that an
            evaluation has made at these weights.

    Raises:
        UserError: the directory, its checkpoint or its network are missing or corrupt, its task is another, or it has
            no such weights.
    """
    path = Path(run).expanduser()
    if not path.is_dir():
        raise UserError(f"{path} is not a directory: give the directory of a run")
    directory = RunDirectory(path)
    state = checkpoint.latest(path)
    if state is None:
        raise UserError(f"{directory.checkpoint} is not there: the run has reached no checkpoint yet")
    state = of_kind(weights, state, directory)
    known = state.get("inference")
    if known is None:
        known = _of_older_run(path)
    if known["format"] > FORMAT:
        raise UserError(f"{path} was made by deeprelax {known['deeprelax']}, which is newer: install that")
    size, channels = known["image_size"], known["channels"]
    shape = {"channels": channels, "image_size": size, "classes": len(known["classes"])}
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and replaced
        network: nn.Module = call("model", known["model"]["name"], **shape, **known["model"]["options"])
    load_weights(network, state, path)
    if weights != "best" and not directory.finished and has_batch_norm(network):
        log.warning(
            "%s is not finished: batch-norm statistics are as in its last checkpoint, perhaps not re-estimated", path
        )
    model = Classifier(
        network, known["classes"], (channels, size, size), known["normalization"], known.get("draws"),
        known.get("seed", 0),
    )  # fmt: skip
    model.of = str(state["of"])
    return model.eval()


def _of_older_run(path: Path) -> dict[str, Any]:
    """The description of a run whose checkpoint has none, by its configuration and its data set."""
    run = restored(path, ["hardware.device=auto"])
    found = description(run.conf, run.task)
    if found is None:
        raise UserError(
            f"{path} is a run of task={run.conf.task.name}, which classifies no images: take one of "
            "task=classification or task=bayesian"
        )
    return found


def description(conf: TrainConf, task: Task) -> dict[str, Any] | None:
    """All that inference needs beside the weights: plain types, and tensors on the CPU; None for tasks without images.

    format, deeprelax (version), task, model (name and options), and what `Task.inference` returns.
    """
    found = task.inference()
    if found is None:
        return None
    return {
        "format": FORMAT,
        "deeprelax": version("deeprelax"),
        "task": conf.task.name,
        "model": {"name": conf.model.name, "options": keywords(conf.model) | no_file(conf.model)},
        **found,
    }


def as_json(value: Any) -> Any:
    """A description for model.json: tensors as lists, those with many numbers as the name of the file that has them."""
    if isinstance(value, dict):
        return {key: as_json(each) for key, each in value.items()}
    if isinstance(value, Tensor):
        return value.tolist() if value.numel() <= MOST_NUMBERS else f"{tuple(value.shape)} in {CHECKPOINT}"
    return value


def predicted(model: Classifier, pictures: Pictures, device: torch.device | None = None) -> Tensor:
    """Log-probabilities of pictures, (files, classes), on the CPU; computed on `device`, None: a GPU if there is one.

    Raises UserError for a file that cannot be read.
    """
    channels, size, _ = model.shape
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    with torch.inference_mode(), single_precision("float32", device):
        chunks = pictures.chunks(size, channels)
        return torch.cat([model.log_probabilities(images.to(device)).cpu() for images in chunks])
