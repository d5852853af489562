"""Which weights of a run a command takes, last, best or average, and what is said where they are not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

import deeprelax as package
from deeprelax.configuration.check import checked
from deeprelax.errors import UserError
from deeprelax.parallel.ranks import Ranks
from deeprelax.runs.restored import restored
from deeprelax.runs.weights import settle_best
from tests.quick import QUICK, RUN, directory
from tests.runs.beside import ALL, HELD_OUT, RULES, result, state

Command = Callable[..., tuple[int, str, str]]
Compose = Callable[..., DictConfig]


def test_evaluate_predict_and_load_model_take_any_of_them(deeprelax: Command) -> None:
    status, out, err = deeprelax(*RUN, *ALL)
    assert (status, err) == (0, "")
    run, numbers = directory(), result("outputs")
    assert f"weights=average: test error {numbers['test_error_average']:.2f} %\n" in out
    assert f"weights=best: test error {numbers['test_error_best']:.2f} % (pass {numbers['best_passes']:.4g})\n" in out
    at = {"last": 37, "average": 37, "best": numbers["best_gradient_evaluations"]}
    networks = {}
    for kind, suffix in (("last", ""), ("average", "_average"), ("best", "_best")):
        status, out, err = deeprelax("evaluate", str(run), f"weights={kind}")
        assert (status, err) == (0, "")
        *_, used, compared = out.splitlines()
        assert used == f"(weights={kind}, after {at[kind]} gradient evaluations)"
        assert compared == "as in result.json"
        assert f"test_error {numbers[f'test_error{suffix}']:.6g} %\n" in out
        model = package.load_model(run, kind)
        assert model.of == used.strip("()")
        networks[kind] = {name: value.clone() for name, value in model.network.state_dict().items()}
    assert deeprelax("evaluate", str(run))[1] == deeprelax("evaluate", str(run), "weights=last")[1]
    mean = state("outputs")["average"]
    assert all(torch.equal(networks["average"][name], value) for name, value in mean["mean"].items())
    statistics = [name for name in networks["last"] if "running_" in name]
    assert statistics
    for name in statistics:
        assert torch.equal(networks["average"][name], mean["buffers"][name])
        assert not torch.equal(networks["average"][name], networks["last"][name])
    status, out, err = deeprelax("export", str(run), "net.pt2", "--weights", "average")
    assert (status, err) == (0, "")
    assert out.endswith("(weights=average, after 37 gradient evaluations)\n")
    assert deeprelax(*RUN, f"init_from={run / 'best.pt'}", "epochs=1", "output_dir=warm")[0] == 0


def test_what_a_run_does_not_have_is_said_in_a_sentence(deeprelax: Command) -> None:
    assert deeprelax(*RUN, "epochs=1", "output_dir=plain")[0] == 0
    plain = str(directory("plain"))
    messages = {
        "best": f"deeprelax: weights=best: {plain} has none, for it was trained with train.keep=last: take last\n",
        "average": f"deeprelax: weights=average: {plain} has none, for it was trained with train.average=none: take l",
        "newest": "deeprelax: weights=newest is unknown: it must be last, best or average\n",
    }
    for kind, message in messages.items():
        for command in (["evaluate", plain], ["predict", plain, "a.png"], ["export", plain, "net.pt2"]):
            for word in ([f"weights={kind}"], [f"--weights={kind}"], ["--weights", kind]):
                status, out, err = deeprelax(*command, *word)
                assert (status, out, err.count("\n")) == (1, "", 1)
                assert err.startswith(message)
    for words in (["predict", plain, "a.png"], ["export", plain, "a.pt2"]):
        status, _, err = deeprelax(*words, "--weights", "best")
        assert (status, err) == (1, messages["best"])
    for words, message in [
        (["train.keep=best"], "train.keep=best goes by the score on validation data, and this run has none: hold imag"),
        (["train.patience=3"], "train.patience=3 goes by the score on validation data, and this run has none: hold i"),
        (["train.patience=3", "task=matrix_sensing"], "this run has none: task=matrix_sensing has none; leave it out"),
        (["train.patience=3", "task=regression"], "and this run has none: hold some out by task.validation"),
        (
            ["train.average=lawa", "train.average_every=9"],
            "and there is none after pass 0 up to epochs=6: lower train.average_",
        ),
        (["train.average_decay=1"], "train.average_decay=1.0 is out of range: it must be a number above 0 and below 1"),
    ]:
        task = any(word.startswith("task=") for word in words)
        run = ["train", "optimizer=sgd", "batch_size=10", "epochs=1"] if task else RUN
        status, _, err = deeprelax(*run, *words, "output_dir=refused")
        assert (status, err.count("\n")) == (1, 1)
        assert message in err
        assert not list(Path("refused").rglob("config.yaml"))


def test_the_mean_of_a_tied_parameter_is_under_all_its_names(deeprelax: Command) -> None:
    tiny = ["model.width=8", "model.depth=1", "model.heads=2", "task.context=16", "task.characters=2000"]
    run = ["train", "task=tokens", *tiny, "hardware.threads=1", "epochs=0.5", "optimizer=adamw", *RULES["ema"]]
    assert deeprelax(*run)[0] == 0
    numbers, run = result("outputs"), directory()
    status, out, err = deeprelax("evaluate", str(run), "weights=average")
    assert (status, err) == (0, "")
    assert out.endswith("as in result.json\n")
    assert f"test_bits {numbers['test_bits_average']:.6g}" in out
    network = restored(run, weights="average").model
    assert torch.equal(network.head.weight, state("outputs")["average"]["mean"]["embedding.weight"])


def test_best_weights_that_are_gone_are_told_by_all_ranks(tmp_path: Path, compose: Compose) -> None:
    """A rank that waited for the main one, which had raised, would wait for ever."""
    told: list[Any] = []

    class Peers(Ranks):
        def from_main(self, value: Any) -> Any:
            told.extend([value] * self.main)
            return told[0]

    conf = checked(compose(*QUICK, "train.keep=best", HELD_OUT))
    for rank in range(2):
        trainer = SimpleNamespace(best=SimpleNamespace(found={"evaluations": 7}), directory=tmp_path)
        with pytest.raises(UserError, match=r"best.pt is missing or corrupt, and the checkpoint refers to it"):
            settle_best(conf, trainer, Peers(rank, 2, rank, 2))
