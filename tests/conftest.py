"""Shared by all tests: one thread, no cache of the user's, a quick way to train."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose as compose_api
from hydra import initialize_config_dir
from omegaconf import DictConfig

from deeprelax.configuration import hydra_app

os.environ.setdefault("OMP_NUM_THREADS", "1")
REAL_DATA = os.environ.get("DEEPRELAX_TEST_DATA")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a folder of its own, with an empty data cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPRELAX_DATA", str(tmp_path / "data"))


@pytest.fixture
def mnist_folder() -> Path:
    """The real MNIST: DEEPRELAX_TEST_DATA names the folder that holds MNIST/raw. Skips without it."""
    if REAL_DATA is None or not (Path(REAL_DATA) / "MNIST" / "raw").is_dir():
        pytest.skip("DEEPRELAX_TEST_DATA does not name a folder with MNIST/raw")
    return Path(REAL_DATA).absolute()


@pytest.fixture
def compose() -> Callable[..., DictConfig]:
    """The configuration of `deeprelax train`, composed without the command line."""

    def call(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(hydra_app.configuration_folder()), version_base="1.3"):
            return compose_api("train", list(overrides))

    return call


@pytest.fixture
def deeprelax(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process: deeprelax("train", "seed=1") -> (exit status, output, errors)."""
    from deeprelax.cli import main

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        capfd.readouterr()
        status = main(list(arguments))
        out, err = capfd.readouterr()
        return status, out, err

    return call


@pytest.fixture
def first(deeprelax: Callable[..., tuple[int, str, str]]) -> Path:
    """A finished run of SGD, to be continued; keys of its own, so that the defaults would differ."""
    from tests.quick import RUN, directory  # imports torch, which reads the number of threads above

    assert deeprelax(*RUN, "train.record_every=1", "output_dir=first")[0] == 0
    return directory("first")
