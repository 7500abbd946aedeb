"""Opening a bank without trusting it: a child process asks the HDF5 library.

A damaged file can crash the HDF5 library, make it allocate without end, or keep it in a loop; of
645 banks with flipped bytes, two ended the process that opened them. No check of ours can promise
against that, because it would have to follow every structure that the library follows. So the
library opens a bank in a child process with limits of memory and time, and the child returns what
it read: the attributes, the columns, and where the pixels lie. If the child ends, the file is
refused in one sentence. The pixels are read from the plain file, without the library.

A child takes about 0.4 s. A bank that this process has written is opened here instead, and what
was read of the last banks is kept, as long as the file has the same size, times and inode.
"""

import io
import json
import os
import resource
import signal
import subprocess
import sys
from collections import OrderedDict
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np

from reid_aug.bank.attributes import BankAttributes, BankPlan
from reid_aug.bank.hdf5_heaps import check_pointers, find_heaps
from reid_aug.bank.reading import DAMAGED_BANK, data_ranges, read_attributes, read_rows, read_scores
from reid_aug.bank.rows import Rows
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.regular_files import require_regular

MEMORY = 2 * 2**30  # bytes of address space of the child, beside COPIES of the file
COPIES = 8  # a column of names becomes text of four bytes per letter, which is packed and sent
SECONDS = 60  # of processor time, beside the time to read the file once
SLOWEST = 50 * 10**6  # bytes per second at which the file is searched for heaps
REFUSED = 3  # exit code of a child that refuses the file
MAKE = Remedy(("synthesize",))
KEPT = 4  # banks whose contents are kept
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
CODE = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from reid_aug.bank.opening import _answer
_answer(sys.argv[2])
"""

Identity = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """All of a bank but its pixels."""

    attributes: BankAttributes
    rows: Rows
    scores: dict[str, np.ndarray]
    height: int
    width: int
    start: int
    """The place of the first pixel in the file; 0 for a bank without rows."""


_own: set[Identity] = set()
_read: OrderedDict[Identity, Contents] = OrderedDict()


def mark_as_own(path: Path) -> None:
    """Remember that this process has written the bank at ``path``."""
    _own.add(_identity(path.stat()))


def open_contents(path: Path) -> Contents:
    """The contents of a bank, read by a child process unless this process has written it.

    Raises:
        UserError: If the file is missing or is no valid bank.
    """
    identity = _identity(require_regular(path, remedy=MAKE))
    if identity not in _read:
        _read[identity] = read_contents(path) if identity in _own else _ask(path)
    _read.move_to_end(identity)
    while len(_read) > KEPT:
        _read.popitem(last=False)
    return _read[identity]


def _identity(about: os.stat_result) -> Identity:
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def read_contents(path: Path) -> Contents:
    """The contents of a bank, read in this process.

    Raises:
        UserError: If the file is no valid bank.
    """
    if not h5py.is_hdf5(path):
        raise UserError(f"{path}: must be a bank (HDF5), got a file of another kind, or cut off")
    try:
        heaps = find_heaps(path)
        with h5py.File(path) as file:
            check_pointers(path, heaps, data_ranges(file))
            attributes, rows = read_attributes(file, path), read_rows(file, path)
            scores = read_scores(file, len(rows), path)
            height, width = file["images"].shape[1:3]
            start = file["images"].id.get_offset() or 0  # None for a bank without rows
        return Contents(attributes, rows, scores, int(height), int(width), int(start))
    except UserError:
        raise
    except DAMAGED_BANK as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path}: must be a bank (HDF5), got {text}") from None


def _ask(path: Path) -> Contents:
    """The contents of a bank, from a child process."""
    command = [sys.executable, "-c", CODE, json.dumps(sys.path), str(path)]
    child = subprocess.run(command, capture_output=True, env={**os.environ, **ONE_THREAD})
    if child.returncode == REFUSED:
        raise UserError(child.stdout.decode())
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        raise UserError(
            f"{path}: must be a bank (HDF5), got a damaged file, which ends the HDF5 library with "
            f"{name}; use an intact copy"
        )
    if child.returncode:
        raise RuntimeError(f"{path}: the process that opens banks failed:\n{child.stderr.decode()}")
    return _unpacked(child.stdout)


def _answer(name: str) -> None:
    """The work of the child: write the contents, or why the file is refused, to stdout."""
    path = Path(name)
    try:
        _limit(require_regular(path, remedy=MAKE).st_size)
        content = _packed(read_contents(path))
    except UserError as error:
        sys.stdout.write(str(error))
        sys.stdout.flush()
        os._exit(REFUSED)
    sys.stdout.buffer.write(content)


def _limit(size: int) -> None:
    """Bound the memory and the time of this process by the size of the file in bytes."""
    memory = MEMORY + COPIES * size
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, SECONDS + size // SLOWEST),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        own = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (own, hard))


def _packed(contents: Contents) -> bytes:
    rows, places = contents.rows, [contents.height, contents.width, contents.start]
    columns = {f"column/{name}": getattr(rows, name) for name in Rows.__slots__}
    scores = {f"score/{name}": score for name, score in contents.scores.items()}
    text = np.frombuffer(json.dumps(asdict(contents.attributes)).encode(), np.uint8)
    file = io.BytesIO()
    arrays = {"places": np.array(places, np.int64), "attributes": text, **columns, **scores}
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _unpacked(content: bytes) -> Contents:
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    values = json.loads(arrays.pop("attributes").tobytes())
    attributes = BankAttributes(**{**values, "plan": BankPlan(**values["plan"])})
    height, width, start = arrays.pop("places").tolist()
    columns = _below(arrays, "column/")
    return Contents(attributes, Rows(**columns), _below(arrays, "score/"), height, width, start)


def _below(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
