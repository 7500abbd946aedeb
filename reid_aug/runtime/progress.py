"""Progress bars on stderr, with the remaining time."""

import sys
import threading
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

__all__ = ["tqdm", "track"]

T = TypeVar("T")
LOCK = threading.RLock()  # tqdm's own lock is a semaphore, which remains when the process is killed


def track(items: Iterable[T], what: str, total: int | None = None, start: int = 0) -> "tqdm[T]":
    """Iterate over ``items`` with a progress bar; in a log file, one line every 15 seconds.

    Args:
        what: the label of the bar, for example "train generator".
        total: number of items, if ``items`` has no length.
        start: number of items that are done already.
    """
    tqdm.set_lock(LOCK)
    every = 0.2 if sys.stderr.isatty() else 15.0
    return tqdm(
        items, what, total, initial=start, mininterval=every, file=sys.stderr, dynamic_ncols=True
    )
