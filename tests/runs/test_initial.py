"""`init_from`: weights alone, of a run or a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from deeprelax.errors import UserError
from deeprelax.records import checkpoint
from deeprelax.reporting.loading import find_runs
from tests.hooks import interrupt_at
from tests.quick import QUICK, RUN, assert_same, directory

Command = Callable[..., tuple[int, str, str]]
STILL = [*RUN, "optimizer.lr=0", "epochs=0.1"]  # an evaluation that changes no weight, but for batch-norm statistics


@pytest.fixture
def first(deeprelax: Command) -> Path:
    assert deeprelax(*RUN, "epochs=1", "output_dir=first")[0] == 0
    return directory("first")


def weights(run: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = checkpoint.load(run / checkpoint.NAME)["model"]
    return {name: tensor for name, tensor in found.items() if "running" not in name and "tracked" not in name}


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_a_run_a_checkpoint_and_a_state_dict_are_the_same_start(first: Path, deeprelax: Command) -> None:
    torch.save(checkpoint.load(first / checkpoint.NAME)["model"], "weights.pt")
    torch.save(torch.nn.Linear(2, 1).state_dict(), "other.pt")
    digests = set()
    for i, place in enumerate([first, first.parent, first / checkpoint.NAME, "weights.pt"]):
        assert deeprelax(*STILL, f"init_from={place}", f"output_dir={i}")[0] == 0
        run = directory(str(i))
        assert all(torch.equal(tensor, weights(first)[name]) for name, tensor in weights(run).items())
        result = read(run / "result.json")
        assert (result["gradient_evaluations"], result["outer_steps"]) == (1, 1)  # counted from zero
        assert yaml.safe_load((run / "config.yaml").read_text())["init_from"] == str(place)
        digests.add(read(run / "provenance.json")["initial_weights"])
        assert checkpoint.load(run / checkpoint.NAME)["initial"] in digests
        assert "init_from-" in run.parent.name
    assert len(digests) == 1
    assert "initial_weights" not in read(first / "provenance.json")
    assert deeprelax(*STILL, "seed=1", "init_from=weights.pt", "output_dir=seeds")[0] == 0


def test_a_resume_does_not_load_it_again(first: Path, deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(checkpoint.load(first / checkpoint.NAME)["model"], "weights.pt")
    run = [*RUN, "epochs=4", "init_from=weights.pt", "train.checkpoint_every=1"]
    assert deeprelax(*run, "output_dir=whole")[0] == 0
    digest = read(directory("whole") / "provenance.json")["initial_weights"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20)
        assert deeprelax(*run, "output_dir=parts")[0] == 130
    Path("weights.pt").unlink()
    assert deeprelax(*run, "output_dir=parts")[0] == 0
    assert_same(directory("whole"), directory("parts"))
    assert read(directory("parts") / "provenance.json")["initial_weights"] == digest
    status, _, err = deeprelax(*run, "init_from=other.pt", f"hydra.run.dir={directory('parts')}")
    assert (status, "init_from is weights.pt there and other.pt here" in err) == (1, True)


def test_what_cannot_be_started_from_is_said_in_a_sentence(first: Path, deeprelax: Command) -> None:
    whole = checkpoint.load(first / checkpoint.NAME)["model"]
    content = (first / checkpoint.NAME).read_bytes()
    torch.save(torch.nn.Linear(2, 1).state_dict(), "other.pt")
    torch.save(torch.nn.Linear(2, 1), "code.pt")
    torch.save([1, 2], "list.pt")
    torch.save({**whole, next(iter(whole)): torch.full_like(next(iter(whole.values())), torch.nan)}, "nan.pt")
    Path("text.pt").write_text("no weights")
    Path("empty.pt").touch()
    Path("cut.pt").write_bytes(content[: len(content) // 2])
    Path("flipped.pt").write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
    Path("folder").mkdir()
    unreadable = "is corrupt, or holds more than tensors: give the directory of a run, or a file that torch.save wrote"
    messages = {
        "nowhere": "init_from=nowhere is not there: give the directory of a run, or a file of weights",
        "folder": "init_from=folder is not the directory of a run: give the one that the run printed",
        "other.pt": "init_from=other.pt holds the weights of another network than model=lenet here (",
        "list.pt": "init_from=list.pt holds no state dict, names with tensors: give the directory of a run",
        "nan.pt": "init_from=nan.pt holds weights that are not finite: name another run or file",
        "flipped.pt": "init_from=flipped.pt: flipped.pt is not a whole checkpoint of this version of deeprelax",
        "": "init_from= is out of range: it must be the directory of a run, or a file",
        **{name: f"init_from={name}: the file {unreadable}" for name in ("code.pt", "text.pt", "empty.pt", "cut.pt")},
    }
    for name, message in messages.items():
        status, _, err = deeprelax(*RUN, f"init_from={name}", "output_dir=second")
        assert (status, err.count("\n")) == (1, 1), name
        assert message in err, name
    status, _, err = deeprelax(*RUN, f"init_from={first}", f"continue_from={first}", "epochs=2")
    assert (status, err.count("\n")) == (1, 1)
    assert f"continue_from={first} and init_from={first} exclude each other: leave out init_from" in err
    status, _, err = deeprelax("train", *QUICK, "model=mlp", f"init_from={first}")
    assert (status, "holds the weights of another network than model=mlp here" in err) == (1, True)


def test_a_run_that_started_from_weights_can_be_continued(first: Path, deeprelax: Command) -> None:
    assert deeprelax(*RUN, "epochs=2", f"init_from={first}", "output_dir=second")[0] == 0
    second = directory("second")
    assert deeprelax("train", f"continue_from={second}", "epochs=3", "output_dir=third")[0] == 0
    assert deeprelax(*RUN, "epochs=3", f"init_from={first}", "output_dir=long")[0] == 0
    assert all(
        torch.equal(tensor, weights(directory("long"))[name]) for name, tensor in weights(directory("third")).items()
    )
    provenance = [read(directory(root) / "provenance.json")["initial_weights"] for root in ("third", "long")]
    assert provenance[0] == provenance[1]


def test_runs_that_started_from_those_of_their_seeds_are_one_group(deeprelax: Command) -> None:
    assert deeprelax(*RUN, "-m", "seed=0,1", "epochs=0.2", "output_dir=first")[0] == 0
    above = next(Path("first").rglob("seed-0")).parent
    assert deeprelax(*RUN, "-m", "seed=0,1", "epochs=1", f"init_from={above}", "output_dir=second")[0] == 0
    one, other = find_runs([Path("second")])[0]
    assert one.settings == other.settings
    assert one.settings["init_from"] == "/".join(above.parts[-2:])
    wanted = {read(file)["initial_weights"] for file in Path("second").rglob("provenance.json")}
    assert len(wanted) == 2


def test_a_run_of_a_version_without_the_key_resumes(deeprelax: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    run = [*RUN, "train.checkpoint_every=1"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20)
        assert deeprelax(*run)[0] == 130
    here = directory()
    config = yaml.safe_load((here / "config.yaml").read_text())
    del config["init_from"]
    (here / "config.yaml").write_text(yaml.safe_dump(config))
    state = checkpoint.load(here / checkpoint.NAME)
    del state["configuration"]["init_from"], state["chain"], state["initial"]
    checkpoint.save(here, state)
    assert deeprelax(*run)[0] == 0
    assert deeprelax(*run, "output_dir=whole")[0] == 0
    assert_same(here, directory("whole"))


def test_whatever_the_damage_to_a_file_a_sentence_names_it(deeprelax: Command, first: Path, tmp_path: Path) -> None:
    from deeprelax.runs.initial import _of_torch

    torch.save(checkpoint.load(first / checkpoint.NAME)["model"], "weights.pt")
    content = Path("weights.pt").read_bytes()
    for place in range(0, len(content), len(content) // 40):
        Path("cut.pt").write_bytes(content[:place])
        with pytest.raises(UserError, match="the file is corrupt, or holds more than tensors"):
            _of_torch(Path("cut.pt"))
