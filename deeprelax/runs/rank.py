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
from ..parallel.ranks import from_environment, leave
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
        return _told(error, str(error))
    except OSError as error:
        problem = file_error(error, directory)
        return _told(problem, str(problem))
    except Exception as error:
        own = trim(error)
        return _told(error, traceback.format_exc(), own=own)
    return 0


def _told(error: Exception, message: str, *, own: bool = False) -> int:
    """Leave the error for the parent, and in this rank's log, which on rank 0 is the terminal."""
    launch.report(error, message, own=own)
    if os.environ["RANK"] != "0":
        print(message, file=sys.stderr)
    return 1


def _train(path: Path) -> None:
    directory = RunDirectory(path)
    conf = load(directory.config)

    from .build import choose_device
    from .peers import joined
    from .train import train

    ranks = from_environment()
    assert ranks is not None
    device = choose_device(conf.hardware, ranks)
    log = logging_to(directory.log) if ranks.main else contextlib.nullcontext()
    try:
        # After an error nobody parts: the others wait in a collective call
        with log, joined(conf, ranks, device, launch.store(ranks)):
            train(conf, directory, device, ranks)
    except Stopped:
        leave()  # all ranks stop together
        raise


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # torch's threads do not always survive the interpreter's end: rank 0 was seen to abort there
