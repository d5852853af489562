"""The log of a run: a file with times, and a terminal that keeps its progress bar."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm.contrib.logging import logging_redirect_tqdm

from ..errors import UserError, trim


class _LogFile(logging.FileHandler):
    """A log that cannot be written is an error like any other, not a traceback beside the run's output."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        raise


@contextmanager
def logging_to(file: Path) -> Iterator[None]:
    """Send the log to this file too, with times; on a terminal, keep it clear of the bar."""
    handler = _LogFile(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    package = logging.getLogger("deeprelax")
    package.setLevel(logging.INFO)
    package.addHandler(handler)
    try:
        both = sys.stdout is not None and sys.stdout.isatty() and sys.stderr.isatty()  # lines meet the bar there alone
        with logging_redirect_tqdm() if both else contextlib.nullcontext():
            yield
    except BaseException as error:
        trim(error)
        with contextlib.suppress(OSError):  # the error itself is perhaps that nothing can be written
            ours = isinstance(error, Exception) and not isinstance(error, UserError)
            record = {"levelname": "ERROR", "msg": str(error).strip() or type(error).__name__}
            handler.emit(logging.makeLogRecord(record | ({"exc_info": sys.exc_info()} if ours else {})))
        raise
    finally:
        package.removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.close()
