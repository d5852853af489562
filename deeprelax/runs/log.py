"""What a person sees while a run goes on: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..errors import UserError
from ..training.cadence import Budget

BAR = "{desc} |{bar}| {percentage:3.0f}% {rate_fmt} {elapsed}<{remaining}{postfix}"


class Progress:
    """A tqdm bar in images with passes, loss and error; nothing where standard error is not a terminal."""

    def __init__(self, budget: Budget, evaluations: int, *, show: bool = True) -> None:
        self._budget = budget
        total = budget.outer_steps * budget.per_step
        self._bar = tqdm(
            total=total * budget.batch_size, initial=evaluations * budget.batch_size, unit="img", unit_scale=True,
            bar_format=BAR, disable=None if show else True, leave=False, dynamic_ncols=True,
        )  # fmt: skip
        self._shown: dict[str, str] = {}

    def advance(self, evaluations: int) -> None:
        """The evaluations done so far."""
        if not self._bar.disable:
            self._bar.set_description_str(f"pass {self._budget.passes(evaluations):.2f}/{self._budget.epochs:g}", False)
            self._bar.update(evaluations * self._budget.batch_size - self._bar.n)

    def show(self, **values: str) -> None:
        """Values beside the bar, kept until they change."""
        self._shown |= values
        self._bar.set_postfix(self._shown, refresh=False)

    def close(self) -> None:
        self._bar.close()


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
        with contextlib.suppress(OSError):  # the error itself is perhaps that nothing can be written
            ours = isinstance(error, Exception) and not isinstance(error, UserError)
            said = {"levelname": "ERROR", "msg": str(error).strip() or type(error).__name__}
            handler.emit(logging.makeLogRecord(said | ({"exc_info": sys.exc_info()} if ours else {})))
        raise
    finally:
        package.removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.close()
