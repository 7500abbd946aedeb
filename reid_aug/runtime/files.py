"""Atomic writes, locks and hashes of files.

A file is written to a temporary sibling, flushed to the disk and renamed, so that it appears under
its name complete or not at all. The folder is flushed too, because it stores the new name.

A killed process leaves at most a sibling ``*.part``. No code reads it, and the next write of the
same file or folder on that host removes it. The name of the sibling contains the host and the
process id, so machines that share a file system use different siblings.
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO, Any

from reid_aug.runtime.errors import UserError
from reid_aug.runtime.regular_files import open_regular, require_regular

HOST = re.sub(r"[^A-Za-z0-9-]", "_", socket.gethostname())
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
IN_USE = (errno.EWOULDBLOCK, errno.EACCES)  # errors for a lock that is held, local or on NFS


@contextmanager
def committed(path: Path | str) -> Iterator[Path]:
    """Yield a temporary sibling of ``path`` to write to, then rename it to ``path``.

    If the body raises, the sibling is removed and ``path`` stays unchanged.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with committed(folder / "a.txt") as part:
    ...     _ = part.write_text("whole")
    >>> [file.name for file in folder.iterdir()]
    ['a.txt']

    Raises:
        UserError: If the disk is full, or ``path`` is a folder, a pipe or a device.
    """
    path = Path(path)
    if path.exists():
        require_regular(path, remedy="it cannot be replaced; remove it")
    part = path.with_name(f".{path.name}.{HOST}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        part.touch()
        mode = part.stat().st_mode  # safetensors makes a file readable by its owner only
        yield part
        part.chmod(mode)
        _flush(part)
        part.replace(path)
        _flush(path.parent)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        explain_full(path, error)
        raise


def explain_full(path: Path, error: BaseException) -> None:
    """Raise a UserError if ``error`` is about a full disk."""
    if isinstance(error, OSError) and error.errno in FULL:
        raise UserError(
            f"{path}: could not be written, {os.strerror(error.errno).lower()}; free some "
            f"space, then run the same command again"
        ) from None


@contextmanager
def new_folder(root: Path | str) -> Iterator[Path]:
    """Yield a temporary sibling of ``root`` to fill, then rename it to ``root``.

    If the body raises, the sibling is removed.

    Raises:
        UserError: If ``root`` exists and is not an empty folder, or if the disk is full.
    """
    root = Path(root).resolve()
    taken = UserError(
        f"{root}: must be missing or an empty folder; choose another folder or remove it"
    )
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
            raise taken from None  # another process created it in the meantime
        explain_full(root, error)
        raise


@contextmanager
def taken_back(folder: Path, is_kept: Callable[[], bool]) -> Iterator[None]:
    """Remove ``folder`` again if the body makes it and raises a UserError.

    The folders above it that were made too are removed if they are empty.

    Args:
        is_kept: whether the folder has something that the same command could go on from.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except UserError:
        if made and not is_kept():
            shutil.rmtree(folder, ignore_errors=True)
            for parent in made[1:]:
                with suppress(OSError):
                    parent.rmdir()
        raise


def is_leftover(path: Path, of: str) -> bool:
    """Whether ``path`` is the temporary sibling of a file or folder named ``of``.

    >>> is_leftover(Path("run/.bank.h5.host.71.part"), "bank.h5")
    True
    """
    return path.name.startswith(f".{of}.") and path.suffix == ".part"


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary siblings of ``path`` that killed processes of this host left."""
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
        pass  # the process exists and belongs to another user
    return True


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync(file: IO[Any]) -> None:
    """Flush an open file to the disk."""
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def locked(folder: Path | str) -> Iterator[None]:
    """Hold an exclusive lock on ``folder``; it is released when this process ends.

    Raises:
        UserError: If another process holds a lock on it.
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
        except OSError as error:
            if error.errno not in IN_USE:
                raise _no_locks(folder, error) from None
            raise UserError(
                f"{folder}: another reid-aug command uses this folder; wait until it ends, or "
                f"choose another folder with --out"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _no_locks(place: Path, error: OSError) -> UserError:
    return UserError(
        f"{place}: must lie on a file system with locks (flock), got the error "
        f"{os.strerror(error.errno or 0)!r}; choose a folder on another disk"
    )


@contextmanager
def joined(folder: Path | str) -> Iterator[None]:
    """Hold a shared lock on ``folder``; it excludes :func:`locked` but not other shared locks.

    Raises:
        UserError: If another process holds an exclusive lock on it.
    """
    with _held(Path(folder), fcntl.LOCK_SH):
        yield


class Claim:
    """A lock on a file, valid for all processes and machines that share the file system.

    The lock belongs to the open file, so it is released when its process ends for any reason. The
    empty file remains. The holder may remove it; a lock is valid only while the locked file still
    has its name.

    Args:
        is_shared: take a shared lock, which several processes can hold together; otherwise the
            lock is exclusive.
        is_awaited: wait until the lock is free; otherwise read ``is_held`` for the outcome.
    """

    def __init__(self, path: Path, is_shared: bool = False, is_awaited: bool = False) -> None:
        self._how = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
        self._how |= 0 if is_awaited else fcntl.LOCK_NB
        self._path, self._descriptor = path, -1
        while not self._has_name(path):
            self.release()
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # the folder was removed in between
                self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            if self._descriptor >= 0 and not self._lock():
                return

    @property
    def is_held(self) -> bool:
        """Whether the lock was obtained and has not been released."""
        return self._descriptor >= 0

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _lock(self) -> bool:
        try:
            fcntl.flock(self._descriptor, self._how)
        except OSError as error:
            self.release()
            if error.errno not in IN_USE:
                raise _no_locks(self._path, error) from None
        return self.is_held

    def _has_name(self, path: Path) -> bool:
        """Whether the locked file is still the one at ``path``."""
        try:
            return self.is_held and os.fstat(self._descriptor).st_ino == path.stat().st_ino
        except FileNotFoundError:
            return False

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def write_json(path: Path | str, value: Mapping[str, Any]) -> None:
    """Write ``value`` as indented JSON, keys in the given order."""
    with committed(path) as part:
        part.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def new_name(path: Path) -> Path:
    """The first of path-2, path-3, ... that does not exist."""
    return next(
        new for number in count(2) if not (new := path.with_name(f"{path.name}-{number}")).exists()
    )


def sha256(path: Path | str) -> str:
    """SHA-256 of the bytes of a file, in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
