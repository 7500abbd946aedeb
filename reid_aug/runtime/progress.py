"""Progress on stderr, with the remaining time: a bar in a terminal, else lines of text."""

import os
import sys
import threading
import time
from collections.abc import Iterable
from typing import TextIO, TypeVar

from tqdm import tqdm

__all__ = ["is_first_rank", "tqdm", "track"]

T = TypeVar("T")
LOCK = threading.RLock()  # tqdm's own lock is a semaphore, which remains when the process is killed
BAR_EVERY, LINE_EVERY = 0.2, 10.0  # seconds, at the least
LINE = "{desc}: {n_fmt} of {total_fmt}, {elapsed} so far, {remaining} left{postfix}"


def is_first_rank() -> bool:
    """Whether this process prints; of several processes of torchrun, only the first does."""
    return os.environ.get("RANK", "0") == "0"


def track(items: Iterable[T], what: str, total: int | None = None, start: int = 0) -> "tqdm[T]":
    """Iterate over ``items`` and show the progress: a bar, or a line every ten seconds in a log.

    An iteration of less than ten seconds writes nothing into a log.

    Args:
        what: the label, for example "train generator".
        total: number of items, if ``items`` has no length.
        start: number of items that are done already.
    """
    tqdm.set_lock(LOCK)
    if sys.stderr.isatty():
        return tqdm(
            items, what, total, initial=start, mininterval=BAR_EVERY, file=sys.stderr,
            dynamic_ncols=True,
        )  # fmt: skip
    return tqdm(
        items, what, total, initial=start, mininterval=LINE_EVERY, maxinterval=LINE_EVERY,
        file=Lines(sys.stderr), bar_format=LINE,
    )  # fmt: skip


class Lines:
    """A file for tqdm that writes every status as a line of its own, with the time of day.

    It omits the statuses of the first ``LINE_EVERY`` seconds.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.begin = stream, time.monotonic()

    def write(self, text: str) -> None:
        """Write one status; carriage returns and empty lines are left out."""
        is_early = time.monotonic() < self.begin + LINE_EVERY
        if (status := text.replace("\r", "").strip()) and not is_early:
            self.stream.write(f"{time.strftime('%H:%M:%S')} {status}\n")
            self.stream.flush()

    def flush(self) -> None:
        """Nothing is buffered."""
