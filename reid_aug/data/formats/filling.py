"""A folder that is filled file by file, and filled up by the same command after an interruption.

``dataset.json`` names the files from the beginning, and marks the folder as complete at the end.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import explain_full, is_leftover, locked, write_json
from reid_aug.runtime.json_toml import read_json

DATASET_FORMAT = "reid_aug.dataset/1"
RECORD = "dataset.json"
Progress = Callable[[Sequence[Any]], Iterable[Any]]


@contextmanager
def filled(folder: Path, converted_from: str, names: Sequence[str]) -> Iterator[None]:
    """A locked folder that the body fills; it counts as complete if the body raises nothing.

    Args:
        folder: a missing or empty folder, or one that was begun with the same arguments.
        converted_from: the format of the data set that is converted.
        names: the images that the folder will hold, relative to it.

    Raises:
        UserError: If the folder holds anything else.
    """
    record = {"format": DATASET_FORMAT, "converted_from": converted_from, "images": list(names)}
    with locked(folder):
        _begin(folder, record)
        yield
        write_json(folder / RECORD, {**record, "is_complete": True})


def write_whole(target: Path, write: Callable[[Path], None]) -> None:
    """Write a file, which has its name only when it is complete; its folder is made too.

    Raises:
        UserError: If the disk is full.
    """
    target.parent.mkdir(exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    try:
        write(part)
        part.replace(target)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        explain_full(target, error)
        raise


def _begin(folder: Path, record: Mapping[str, Any]) -> None:
    path = folder / RECORD
    if all(is_leftover(found, RECORD) for found in folder.iterdir()):
        write_json(path, {**record, "is_complete": False})
        return
    try:
        begun = read_json(path)
    except UserError:
        begun = None
    if not isinstance(begun, dict) or {**begun, "is_complete": 0} != {**record, "is_complete": 0}:
        raise UserError(
            f"{folder}: must be missing or an empty folder, or one where the same conversion was "
            f"begun; choose another folder or remove it"
        )
