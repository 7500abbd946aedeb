"""Committing files: a file appears under its name whole and durable, or not at all.

Every contract file is written to a temporary sibling, flushed to the disk, and renamed; then the
folder is flushed too, because the rename itself lives there. A killed process leaves at most a
``*.part`` sibling, which nothing reads and which the next write of the same file or folder on that
host removes. The sibling's name holds host and process, so machines that share a file system never
write to the same one.
"""

import errno
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from reid_aug.runtime.errors import UserError

HOST = re.sub(r"[^A-Za-z0-9-]", "_", socket.gethostname())
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
IN_USE = (errno.EWOULDBLOCK, errno.EACCES)  # what a lock that is held answers, local or on NFS


@contextmanager
def committed(path: Path | str) -> Iterator[Path]:
    """Give a temporary sibling of ``path`` to write to; rename it to ``path`` when all went well.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with committed(folder / "a.txt") as part:
    ...     _ = part.write_text("whole")
    >>> [file.name for file in folder.iterdir()]
    ['a.txt']

    Raises:
        UserError: If there is no room for it.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{HOST}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        part.touch()
        mode = part.stat().st_mode  # safetensors would leave the file readable by its owner only
        yield part
        part.chmod(mode)
        _flush(part)
        part.replace(path)
        _flush(path.parent)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in FULL:
            raise UserError(
                f"{path}: could not be written, {os.strerror(error.errno).lower()}; make room, "
                f"then give the same command again"
            ) from None
        raise


@contextmanager
def new_folder(root: Path | str) -> Iterator[Path]:
    """Give a temporary sibling of ``root`` to fill; rename it to ``root`` when all went well.

    Raises:
        UserError: If there is something at ``root``.
    """
    root = Path(root).resolve()
    taken = UserError(f"{root}: must be missing or an empty folder; name another or remove it")
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise taken
    part = root.with_name(f".{root.name}.{HOST}.{os.getpid()}.part")
    _remove_leftovers(root)
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        yield part
        part.replace(root)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in TAKEN and root.exists():
            raise taken from None  # by another, while this one was filled
        if isinstance(error, OSError) and error.errno in FULL:
            raise UserError(
                f"{root}: could not be written, {os.strerror(error.errno).lower()}; make room, "
                f"then give the same command again"
            ) from None
        raise


def _remove_leftovers(path: Path) -> None:
    """Remove what killed processes of this host left of ``path``."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{HOST}.*.part"):
        process = left.suffixes[-2][1:]
        if not process.isdigit() or _is_alive(int(process)):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


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


def sync(file: IO) -> None:
    """Bring to the disk what was written to an open file so far."""
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def locked(folder: Path | str) -> Iterator[None]:
    """Hold ``folder`` for this process; the lock vanishes with its holder.

    Raises:
        UserError: If another process holds it.
    """
    with _held(Path(folder), fcntl.LOCK_EX):
        yield


@contextmanager
def _held(folder: Path, how: int) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder}: another reid-aug command is at work here; wait for it, or choose "
                f"another folder with --out"
            ) from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def joined(folder: Path | str) -> Iterator[None]:
    """Hold ``folder`` together with others who join it; who wants it alone (:func:`locked`) waits.

    Raises:
        UserError: If a process holds it for itself.
    """
    with _held(Path(folder), fcntl.LOCK_SH):
        yield


class Claim:
    """A lock file that is held by at most one, here or on another machine of a file system.

    The lock belongs to the open file, so it vanishes with its holder, however that ends. The file
    stays behind, empty. Who holds it may remove it: a lock counts only while its file has its name.

    Args:
        is_shared: hold it together with others who share it.
        is_awaited: wait until it can be had; otherwise look at ``is_held``.
    """

    def __init__(self, path: Path, is_shared: bool = False, is_awaited: bool = False) -> None:
        self._how = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
        self._how |= 0 if is_awaited else fcntl.LOCK_NB
        self._descriptor = -1
        while not self._has_name(path):
            self.release()
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # the folder was removed in between
                self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            if self._descriptor >= 0 and not self._lock():
                return

    @property
    def is_held(self) -> bool:
        """Whether the lock could be had, and was not let go since."""
        return self._descriptor >= 0

    def release(self) -> None:
        """Let it go; twice does no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _lock(self) -> bool:
        try:
            fcntl.flock(self._descriptor, self._how)
        except OSError as error:
            self.release()
            if error.errno not in IN_USE:
                raise
        return self.is_held

    def _has_name(self, path: Path) -> bool:
        """Whether the locked file is the one at ``path``, and not one that was removed."""
        try:
            return self.is_held and os.fstat(self._descriptor).st_ino == path.stat().st_ino
        except FileNotFoundError:
            return False

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def write_json(path: Path | str, value: Mapping[str, Any]) -> None:
    """Write ``value`` as readable JSON, keys in the order given."""
    with committed(path) as part:
        part.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def sha256(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
