"""Test that every experiment trains with every optimizer: a few evaluations on small data in the published formats."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from deeprelax.configuration.hydra_app import configuration_folder
from tests.data.fakes import write_cifar, write_images, write_mnist
from tests.optimizers import CHOICES, NO_RELAXATION

Command = Callable[..., tuple[int, str, str]]
FOLDER = configuration_folder()
EXPERIMENTS = sorted(file.stem for file in (FOLDER / "experiment").glob("*.yaml"))
RECIPES = sorted(file.stem for file in (FOLDER / "recipe").glob("*.yaml"))
TINY = [
    "hardware.threads=1", "batch_size=2", "epochs=0.01", "train.bn_batches=1", "dataset.train_size=20",
    "dataset.validation=0",
]  # fmt: skip


# paper_all_cnn and cifar_jpeg_wrn_16_4 stand for them in the default suite, pinn_heat, symbolic_wave, estimate_hjb,
# sde_bnn_digits and tokens
LARGE = {"cifar10_wrn_28_10", "cifar10_wrn_16_4", "cifar_jpeg_all_cnn", "sde_bnn_mnist", "odenet_mnist"}
NO_IMAGES = {name for name in EXPERIMENTS if name.startswith(("pinn_", "symbolic_", "estimate_", "tokens"))}
# These train everywhere, others where the recipe has a preset for them: their own rates may diverge elsewhere
EVERYWHERE = {"sgd", "adamw", "entropy_sgd", "hj", "hj_proximal", "heat", "pde_relaxed", "lbfgs"}
LARGE |= NO_IMAGES - {"pinn_heat", "symbolic_wave", "estimate_hjb", "tokens"}


def recipes_of(experiment: str) -> list[str]:
    """What it names: one recipe, or none."""
    found = OmegaConf.load(FOLDER / "experiment" / f"{experiment}.yaml").get("defaults", [])
    return [entry["override /recipe"] for entry in found if "override /recipe" in entry]


def presets_of(experiment: str) -> set[str]:
    """The optimizers that its recipe has values for."""
    recipe = next(iter(recipes_of(experiment)), "none")
    return {file.stem for file in (FOLDER / "preset" / recipe).glob("*.yaml")}


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_and_their_presets_compose(experiment: str, every: bool, deeprelax: Command) -> None:
    for optimizer in [*CHOICES, *NO_RELAXATION] if every else sorted({*presets_of(experiment), "adamw", "lbfgs"}):
        status, out, err = deeprelax("train", f"experiment={experiment}", f"optimizer={optimizer}", "--cfg", "job")
        assert (status, err) == (0, ""), optimizer
        assert f"name: {optimizer}\n" in out


@pytest.mark.parametrize(
    ("experiment", "every"),
    [
        pytest.param(name, every, marks=pytest.mark.slow if name in LARGE or (every and name != "smoke") else ())
        for name in EXPERIMENTS
        for every in ([True] if name in {"smoke", *LARGE} else [False, True])
    ],
)
def test_experiments_train_with_every_optimizer(
    experiment: str, every: bool, deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist(tmp_path / "data", monkeypatch)
    write_cifar(tmp_path / "data", monkeypatch, per_file=60)
    own = ["dataset.path=mine", "dataset.train_size=9"] if "jpeg" in experiment else []
    # whitening 32 x 32 pixels takes 10 seconds, and more images than an image has values
    own += (
        ["dataset.image_size=9", "dataset.train_size=300"]
        if "cifar10" in experiment or experiment == "paper_all_cnn"
        else []
    )
    write_images(tmp_path / "mine", size=(32, 32))
    no_images = experiment in NO_IMAGES
    tiny = [word for word in TINY if not (no_images and word.startswith("dataset."))]
    own += ["model.hidden=8"] if experiment == "pinn_oscillator_2d" else []  # its test set has 54,621 points
    own += ["task.paths=2"] if experiment.startswith("sde_") else []
    if no_images:  # what epochs count in
        own += ["task.characters=3000"] if experiment.startswith("tokens") else ["task.points=100"]
    names = {*EVERYWHERE, *presets_of(experiment)} if every else {"sgd", "entropy_sgd"}
    chosen = {name: keys for name, keys in CHOICES.items() if experiment == "smoke" or name in names}
    for optimizer, keys in chosen.items():
        short = (
            [] if no_images or experiment.startswith(("sde_", "odenet_")) else keys
        )  # its presets have other rules, which exclude some of these keys
        run = ["train", f"experiment={experiment}", f"optimizer={optimizer}", *tiny, *own, *short]
        status, _, err = deeprelax(*run)
        assert (status, err) == (0, ""), optimizer
    results = list((tmp_path / "outputs" / experiment).rglob("result.json"))
    assert len(results) == len(chosen)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_has_a_header_and_sets_no_optimizer_key(experiment: str) -> None:
    text = (FOLDER / "experiment" / f"{experiment}.yaml").read_text()
    lines = text.splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith("# ")
    assert not any(line.startswith("optimizer:") for line in lines)
    named = recipes_of(experiment)
    assert experiment == "smoke" or (len(named) == 1 and named[0] in RECIPES)


def test_every_recipe_is_followed_and_has_presets_of_shipped_optimizers() -> None:
    texts = [file.read_text() for group in ("experiment", "task") for file in (FOLDER / group).glob("*.yaml")]
    assert {path.name for path in (FOLDER / "preset").iterdir()} == set(RECIPES)
    for recipe in RECIPES:
        assert any(re.search(rf"- override /recipe\S*: {recipe}\n", text) for text in texts), recipe
        presets = {file.stem for file in (FOLDER / "preset" / recipe).iterdir()}
        assert presets
        assert presets <= set(CHOICES)


@pytest.mark.parametrize("preset", sorted((FOLDER / "preset").glob("*/*.yaml")), ids=lambda file: file.parent.name)
def test_a_preset_holds_what_differs_from_the_default_or_is_published(preset: Path) -> None:
    """Presets of the paper's tables may restate defaults: there the values are documentation."""
    defaults, content = OmegaConf.load(FOLDER / "optimizer" / preset.name), OmegaConf.load(preset)
    assert set(content) <= {"optimizer", "schedule"}
    published = {line.split(":")[0].strip() for line in preset.read_text().splitlines() if "# published: " in line}
    for key, value in content.get("optimizer", {}).items():
        assert key in defaults
        assert value != defaults[key] or key in published or preset.parent.name.startswith("paper_"), key


def test_an_optimizer_without_a_preset_takes_its_defaults_and_a_recipe_can_be_chosen(deeprelax: Command) -> None:
    job = ["train", "optimizer=hj_proximal", "--cfg", "job", "-p"]
    plain, tuned = deeprelax(*job, "optimizer"), deeprelax(*job, "optimizer", "experiment=mnist_lenet")
    assert tuned == plain
    assert "gamma: 33.3\n" in deeprelax(*job, "optimizer", "recipe=wrn")[1]
    _, _, err = deeprelax("train", "recipe=wnr")
    assert err == f"deeprelax: recipe=wnr is not a choice (did you mean wrn?): one of {', '.join(RECIPES)}\n"
