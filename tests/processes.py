"""What runs on this machine, and waiting for it to change."""

import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 180.0  # seconds


def processes() -> dict[int, tuple[str, int, int]]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        found[int(path.parent.name)] = state, int(parent), int(session)
    return found


def members(session: int) -> set[int]:
    return {pid for pid, (state, _, own) in processes().items() if own == session and state != "Z"}


def cells_started_by(parent: int) -> set[int]:
    found = set()
    for pid, (_, own, _) in processes().items():
        try:
            if own == parent and b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(pid)
        except OSError:
            continue
    return found


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(condition())
