"""Parallel maps over processes, or ahead of time over threads; results keep the order of the items.

Processes are spawned, because a fork copies the locks of the threads that torch and BLAS have
started. Each process computes with one thread and ends when its parent ends.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar

from reid_aug.runtime.errors import UserError

T = TypeVar("T")
R = TypeVar("R")


def usable_cores() -> int:
    """The number of cores that this process may use, at least 1.

    Systems without CPU affinity, such as macOS, give the number of cores of the machine.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


CORES = usable_cores()


OUT_OF_MEMORY = (
    "one of {workers} processes was killed, possibly because memory ran out; run the same command "
    "again with fewer --workers, it resumes from what was saved"
)


def spread(
    function: Callable[[T], R], items: Sequence[T], workers: int, killed: str = OUT_OF_MEMORY
) -> Iterator[R]:
    """Apply ``function`` to every item and yield the results in order.

    Exceptions that ``function`` raises are raised here too.

    Args:
        function: a function of a module, or a ``partial`` of one, so that it can be pickled.
        items: the arguments; each is sent to one process.
        workers: number of processes; with 1, no process is started.
        killed: the error if a process is killed.

    Raises:
        UserError: If a process is killed from outside.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=begin_worker)
    try:
        yield from pool.map(function, items)
    except BrokenProcessPool:
        raise UserError(killed.format(workers=workers)) from None
    finally:
        pool.shutdown(cancel_futures=True)


def ahead(
    pool: Executor, function: Callable[[T], R], items: Iterable[T], count: int
) -> Iterator[R]:
    """Apply ``function`` to every item in ``pool`` and yield the results in order.

    At most ``count`` items are computed before their results are requested.
    """
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > count:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def start_child(function: Callable[..., int], *arguments: Any) -> SpawnProcess:
    """Start a process that calls ``function`` and ends with the code that it returns.

    The process watches its parent before it imports the module of ``function``, which may take
    seconds, and ends when the parent ends.

    Args:
        function: a function of a module, so that it can be pickled.
    """
    work = bytes(ForkingPickler.dumps((function, arguments)))
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(work,))
    process.start()
    return process


def _work(work: bytes) -> None:
    end_with_parent()
    function, arguments = ForkingPickler.loads(work)
    sys.exit(function(*arguments))


def begin_worker() -> None:
    """Prepare a process of a pool: it leaves Ctrl-C to its parent, and ends with it."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    os.environ["OMP_NUM_THREADS"] = "1"  # for a torch that is imported later, if it is needed
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def end_with_parent(_: int = 0) -> None:
    """Let this process ignore Ctrl-C, and end as soon as its parent has ended for any reason."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it
    threading.Thread(target=_await_parent, daemon=True).start()


def _await_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
