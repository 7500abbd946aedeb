"""Cases in forked processes, with limits of time and memory."""

import contextlib
import faulthandler
import io
import json
import os
import resource
import select
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from reid_aug.runtime.errors import UserError

SHOWN = 3  # losses that are printed per class
SECONDS = 20
MEMORY = 4 * 2**30  # bytes beside those of this process
READ, DONE, REFUSED, FAILED = "read", "done", "refused", "failed"
SURVIVED = READ, DONE, REFUSED


@dataclass(slots=True)
class Tally:
    """How the cases of one class ended."""

    ended: Counter[str] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)

    def add(self, ending: str, about: str) -> None:
        """Count a case; the first losses are printed at once."""
        self.ended[ending] += 1
        if ending not in SURVIVED:
            self.losses.append(about)
            if len(self.losses) <= SHOWN:
                print(f"LOST {about}\n", flush=True)

    def line(self, name: str) -> str:
        tried, lost = self.ended.total(), len(self.losses)
        counts = ", ".join(f"{ending} {count}" for ending, count in sorted(self.ended.items()))
        return (
            f"{name:<28} tried {tried:>6}  survived {tried - lost:>6}  lost {lost:>4}   ({counts})"
        )


def attempt_all(works: Sequence[Callable[[], object]]) -> list[tuple[str, str]]:
    """Call every work, in as few forked processes as possible: how each ended, and its message."""
    found: list[tuple[str, str]] = []
    while len(found) < len(works):
        found += _attempt_from(works[len(found) :])
    return found


def _attempt_from(works: Sequence[Callable[[], object]]) -> list[tuple[str, str]]:
    """The endings of the works up to the first one that ends the process, inclusive."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _perform(works, writer)
    os.close(writer)
    found: list[tuple[str, str]] = []
    buffer = b""
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], 3 * SECONDS)[0]:
            more = pipe.read(65_536)
            if not more:
                break
            *lines, buffer = (buffer + more).split(b"\n")
            found += [tuple(json.loads(line)) for line in lines]
        else:
            os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if len(found) < len(works):
        is_slow = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGXCPU)
        name = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "exit"
        found.append(("too slow" if is_slow else name, ""))
    return found


def _perform(works: Sequence[Callable[[], object]], writer: int) -> None:
    faulthandler.disable()
    most = _address_space() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    for work in works:
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
        os.write(writer, json.dumps(_ending(work)).encode() + b"\n")
    os._exit(0)


def _ending(work: Callable[[], object]) -> tuple[str, str]:
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            work()
        return READ, ""
    except UserError as error:
        text = str(error)
        return REFUSED if text and "\n" not in text else "more than one line", text[:3000]
    except OSError as error:  # the command line makes one sentence of it
        if error.filename:
            return REFUSED, str(error)
        return FAILED, traceback.format_exc()[-3000:]
    except BaseException:
        return FAILED, traceback.format_exc()[-3000:]


def _address_space() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[0]) * resource.getpagesize()
