"""Ctrl-C, also where a package swallows it.

Python turns Ctrl-C into a KeyboardInterrupt. Packages that are being imported may turn that into
another error: numpy then "cannot be loaded more than once per process". So Ctrl-C is recorded, and
an error that follows it is a consequence of it.
"""

import signal
import threading
from types import FrameType

_received: list[int] = []


def record_interrupts() -> None:
    """Record every Ctrl-C from now on; earlier ones are forgotten.

    A process that ignores Ctrl-C, or handles it, is left so.
    """
    _received.clear()
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_default and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _record)


def was_interrupted() -> bool:
    """Whether this process has received Ctrl-C since :func:`record_interrupts`."""
    return bool(_received)


def _record(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    signal.default_int_handler(number, frame)
