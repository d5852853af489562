"""Run one rank that `launch` has started: `python -m deeprelax.runs.rank DIRECTORY`."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import traceback
from pathlib import Path

from ..configuration.check import load
from ..errors import Stopped, UserError, trim
from ..files import file_error
from ..parallel import launch
from ..parallel.ranks import from_environment, join, leave
from ..records.directory import RunDirectory
from .log import logging_to


def main(directory: Path) -> int:
    """Train; rank 0 writes. Returns the exit status; an error is left for the parent."""
    threading.Thread(target=launch.end_with_parent, daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        _train(directory)
    except Stopped as stopped:
        return stopped.status
    except KeyboardInterrupt:
        return 130
    except UserError as error:
        launch.report(error, str(error))
        return 1
    except OSError as error:
        problem = file_error(error, directory)
        launch.report(problem, str(problem))
        return 1
    except Exception as error:
        own = trim(error)
        launch.report(error, traceback.format_exc(), own=own)
        return 1
    return 0


def _train(path: Path) -> None:
    directory = RunDirectory(path)
    conf = load(directory.config)

    from .build import choose_device
    from .train import train

    ranks = from_environment()
    assert ranks is not None
    device = choose_device(conf.hardware, ranks)
    join(ranks, device, launch.store(ranks))
    try:
        with logging_to(directory.log) if ranks.main else contextlib.nullcontext():
            train(conf, directory, device, ranks)
    except Stopped:
        leave()  # all ranks stop together
        raise
    # Not after an error: the others wait in a collective call, and would complain of this rank before its own error is
    # told. The process ends without parting.
    leave()


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # torch's threads do not always survive the interpreter's end: rank 0 was seen to abort there
