"""Progress on stderr, with the time that is left."""

import sys
import threading
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
LOCK = threading.RLock()  # tqdm's own is a semaphore between processes, left behind when killed


def track(items: Iterable[T], what: str, total: int | None = None, start: int = 0) -> "tqdm[T]":
    """Iterate over ``items`` and show how far it is; in a log, a line now and then.

    Args:
        what: what is being done, as "train generator".
        total: number of items, where ``items`` has no length.
        start: items that were done before.
    """
    tqdm.set_lock(LOCK)
    every = 0.2 if sys.stderr.isatty() else 15.0
    return tqdm(
        items, what, total, initial=start, mininterval=every, file=sys.stderr, dynamic_ncols=True
    )
