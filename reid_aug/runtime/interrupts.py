"""Ctrl-C, also where a package or Python swallows it.

Python turns Ctrl-C into a KeyboardInterrupt. There are two ways to lose it:

- Packages that are being imported may turn it into another error: numpy then "cannot be loaded
  more than once per process". So Ctrl-C is recorded, and an error that follows it is a consequence
  of it.
- In a destructor or a callback of a weak reference, Python prints it and goes on. There it is
  raised again shortly afterwards.
"""

import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

AGAIN_AFTER = 0.05  # seconds, by which the destructor has ended

_received: list[int] = []
_usual_hook = [sys.__unraisablehook__]


def record_interrupts() -> None:
    """Record every Ctrl-C from now on; earlier ones are forgotten.

    A process that ignores Ctrl-C, or handles it, is left so.
    """
    _received.clear()
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_default and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _record)
        if sys.unraisablehook is not _raise_again:
            _usual_hook[0], sys.unraisablehook = sys.unraisablehook, _raise_again


def was_interrupted() -> bool:
    """Whether this process has received Ctrl-C since :func:`record_interrupts`."""
    return bool(_received)


def _record(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    signal.default_int_handler(number, frame)


def _raise_again(error: "UnraisableHookArgs") -> None:
    if error.exc_type is not KeyboardInterrupt:
        _usual_hook[0](error)
        return
    main = threading.main_thread().ident
    again = threading.Timer(AGAIN_AFTER, signal.pthread_kill, (main, signal.SIGINT))
    again.daemon = True
    again.start()
