"""A map over processes, or ahead of time in a thread: results in order, the same as one by one.

Processes are started afresh (a fork copies the locks of threads that torch and BLAS have started),
compute on one thread each, and end when their parent does.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from reid_aug.runtime.errors import UserError

T = TypeVar("T")
R = TypeVar("R")
CORES = len(os.sched_getaffinity(0))


def spread(function: Callable[[T], R], items: Sequence[T], workers: int) -> Iterator[R]:
    """``function`` of every item, in order; with more than one worker, in processes.

    Args:
        function: a function of a module, or a ``partial`` of one.
        items: what it is applied to; each is sent to one process.
        workers: how many processes; with 1, none is started.

    Raises:
        UserError: If a process is killed from outside; what ``function`` raises comes through.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)
    try:
        yield from pool.map(function, items)
    except BrokenProcessPool:
        raise UserError(
            f"one of {workers} processes was killed, perhaps for want of memory; the same command "
            f"goes on from what was saved, with fewer --workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def ahead(
    pool: Executor, function: Callable[[T], R], items: Iterable[T], count: int
) -> Iterator[R]:
    """Results in order, worked out in ``pool`` up to ``count`` items before they are asked for."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > count:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _begin() -> None:
    import torch  # here, because threads that read ahead do without it

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(1)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
