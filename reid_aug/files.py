"""Committing files: a file appears under its name whole and durable, or not at all.

Every contract file is written to a temporary sibling, flushed to the disk, and renamed; then the
folder is flushed too, because the rename itself lives there. A killed process leaves at most a
``*.part`` sibling, which nothing reads and the next write of the same file removes.
"""

import fcntl
import glob
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reid_aug.errors import UserError


@contextmanager
def committed(path: Path | str) -> Iterator[Path]:
    """Give a temporary sibling of ``path`` to write to; rename it to ``path`` when all went well.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with committed(folder / "a.txt") as part:
    ...     _ = part.write_text("whole")
    >>> [file.name for file in folder.iterdir()]
    ['a.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        process = left.suffixes[-2][1:]
        if process.isdigit() and not _is_alive(int(process)):
            left.unlink(missing_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.touch()
    mode = part.stat().st_mode  # safetensors would leave the file readable by its owner only
    try:
        yield part
        part.chmod(mode)
        _flush(part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, so alive
    return True


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path | str) -> Iterator[None]:
    """Hold ``folder`` for this process; the lock vanishes with its holder.

    Raises:
        UserError: If another process holds it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError(
            f"{folder}: another reid-aug command is at work here; wait for it, or choose another "
            f"folder with --out"
        ) from None
    finally:
        os.close(descriptor)


def write_json(path: Path | str, value: Mapping[str, Any]) -> None:
    """Write ``value`` as readable JSON, keys in the order given."""
    with committed(path) as part:
        part.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def sha256(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
