"""Walk through the command line as a user would: each script in an empty folder, on files that it makes itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted(Path(__file__).parent.glob("*.sh"))
BASH = shutil.which("bash")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BASH is None, reason="no bash here")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_walk(script: Path, tmp_path: Path) -> None:
    assert BASH is not None
    bin_folder = Path(sys.executable).parent  # that of the environment, which need not be activated
    environment = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("HYDRA_FULL_ERROR", None)  # which commands that other tests ran in this process have set
    folder = tmp_path / "empty"  # data_dir of all tests lies in tmp_path
    folder.mkdir()
    done = subprocess.run(
        [BASH, str(script)], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, f"{script.name} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
