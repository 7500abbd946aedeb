"""Reading the files that a user names: regular files only, and only up to a size.

A named pipe blocks its reader for ever, and a device has no end. So every reader of the package
opens a file with :func:`open_regular`, or calls :func:`require_regular` before a library opens the
file by its path. Links to regular files are regular files here.
"""

import io
import os
import stat
from pathlib import Path

from reid_aug.runtime.errors import Remedy, UserError

TEXT = 128 * 2**20  # bytes of a JSON, CSV or log file; the keypoints of 100,000 crops need 25 MB
IMAGE = 256 * 2**20  # bytes of one image file

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


def require_regular(
    path: Path | str, largest: int | None = None, remedy: Remedy | str = ""
) -> os.stat_result:
    """Raise a UserError unless ``path`` is a regular file; returns its properties.

    Args:
        largest: the most bytes that it may have; None for any number.
        remedy: what to do if the file is missing or of another kind.

    Raises:
        UserError: If the file is missing, of another kind, or larger.
    """
    try:
        about = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        raise _error(f"{path} is missing", remedy) from None
    _check(path, about, largest, remedy)
    return about


def _check(
    path: Path | str, about: os.stat_result, largest: int | None, remedy: Remedy | str
) -> None:
    if not stat.S_ISREG(about.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(about.st_mode)), "something else")
        raise _error(f"{path}: must be a regular file, got {kind}", remedy)
    if largest is not None and about.st_size > largest:
        raise _too_large(path, largest, about.st_size)


def _error(text: str, remedy: Remedy | str) -> UserError:
    if isinstance(remedy, Remedy):
        return UserError(text, remedy)
    return UserError(f"{text}; {remedy}" if remedy else text)


def _too_large(path: Path | str, largest: int, found: int) -> UserError:
    return UserError(f"{path}: must be at most {largest} bytes, got {found}; is it the right file?")


def open_regular(
    path: Path | str, largest: int | None = None, remedy: Remedy | str = ""
) -> io.BufferedReader:
    """Open a regular file for reading bytes; the arguments are those of :func:`require_regular`.

    The file is checked again after it is opened, because its name may mean another one by then.

    Raises:
        UserError: As :func:`require_regular`.
    """
    require_regular(path, largest, remedy)
    file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: PTH123, SIM115
    try:
        _check(path, os.fstat(file.fileno()), largest, remedy)
    except UserError:
        file.close()
        raise
    return file


def read_bytes(path: Path | str, largest: int = TEXT, remedy: Remedy | str = "") -> bytes:
    """The content of a regular file; the arguments are those of :func:`require_regular`.

    Raises:
        UserError: As :func:`require_regular`; also if a file that states no size, as those of
            /proc, turns out to be larger.
    """
    with open_regular(path, largest, remedy) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise _too_large(path, largest, len(content))
    return content


def read_text(
    path: Path | str,
    largest: int = TEXT,
    remedy: Remedy | str = "",
    encoding: str = "utf-8",
    errors: str = "strict",
) -> str:
    """The content of a regular text file; the arguments are those of :func:`require_regular`.

    Raises:
        UserError: As :func:`read_bytes`; also if the content is not UTF-8 and ``errors`` is
            "strict".
    """
    try:
        return read_bytes(path, largest, remedy).decode(encoding, errors)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: must be text in UTF-8, got the byte 0x{error.object[error.start]:02x} at "
            f"position {error.start}; save it again as UTF-8"
        ) from None
