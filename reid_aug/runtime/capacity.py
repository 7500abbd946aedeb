"""Memory and disk: work that needs more than the machine has is refused before it starts."""

import shutil
from pathlib import Path

from reid_aug.runtime.errors import UserError

CGROUP = Path("/sys/fs/cgroup")
UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")


def amount(size: float) -> str:
    """A number of bytes in the unit that suits its size.

    >>> amount(24_576), amount(3.2e9), amount(2e40)
    ('25 kB', '3.2 GB', '2e+22 EB')
    """
    value = min(float(size), 1e300) / 1000
    for unit in UNITS[:-1]:
        if value < 1000:
            return f"{value:.0f} {unit}" if unit in ("kB", "MB") else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.3g} {UNITS[-1]}"


def free_memory() -> int | None:
    """Bytes of memory that this process can still get; None if the system does not state them."""
    limits = []
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            limits.append(1024 * int(line.split()[1]))
    most, used = _text(CGROUP / "memory.max"), _text(CGROUP / "memory.current")
    if most.isdigit() and used.isdigit():
        limits.append(max(0, int(most) - int(used)))
    return min(limits, default=None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def require_memory(need: float, what: str, remedy: str) -> None:
    """Raise a UserError if ``need`` bytes of memory are not free.

    Args:
        what: what needs them, in the plural, as "40 planned images".
        remedy: what to do, as "lower --ratio".
    """
    free = free_memory()
    if free is not None and need > free:
        raise UserError(
            f"{what} need {amount(need)} of memory, got {amount(free)} that are free; {remedy}"
        )


def require_disk(path: Path, need: float, what: str, remedy: str) -> None:
    """Raise a UserError if ``need`` bytes are not free on the disk of ``path``.

    Args:
        what: what needs them, in the plural, as "40 images".
        remedy: what to do, as "lower --ratio".
    """
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if need > free:
        raise UserError(
            f"{path}: {what} need {amount(need)} of disk space, got {amount(free)} that are free; "
            f"{remedy}"
        )
