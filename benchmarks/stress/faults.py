"""Commands under faults of the machine, given again when the fault is gone.

Under a fault, a command must do its work, or end with exit code 2 and one sentence. It must leave
no temporary file, and no half-written one. After the fault, the same command must end in the bytes
of an undisturbed run. Faults that need root are left out without it.
"""

import ctypes
import os
import random
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

from benchmarks.stress.attempts import DONE, REFUSED, SURVIVED, Tally
from benchmarks.stress.commands import Arena, Command, commands, finish, outliving

ROOM = 2**30  # bytes of a disk with room
YEARS = 10 * 365 * 86_400  # seconds
CAPABILITIES = 0x20080522  # version 3 of the structures of capset(2)
Setting = Callable[[Arena, Command, random.Random], AbstractContextManager[None]]


def nothing(*_: object) -> AbstractContextManager[None]:
    """No fault."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the machine, in up to three places."""

    name: str
    around: Setting = nothing
    """What differs while the command runs; it may change the folders and must restore them."""
    inside: Callable[[random.Random], object] = bool
    """What the process of the command does to itself first."""
    during: Callable[[Arena, Command, random.Random], object] | None = None
    """What happens at a random moment while the command runs."""
    processes: int = 1
    """The number of processes that run the command at the same time."""
    needs_root: bool = False
    is_silent: bool = False
    """Whether the sentence cannot be printed."""
    is_other_input: bool = False
    """Whether the command may do its work with another input. It may then refuse to go on."""
    hides_images: bool = False
    """Whether images may be missing, so that a command that takes those there has another input."""
    for_bank: bool = False
    """Whether the fault concerns commands that read a bank only."""


def faults() -> list[Fault]:
    """Every fault."""
    return [
        Fault("disk full", partial(_mounted, "size"), needs_root=True),
        Fault("no inode left", partial(_mounted, "nr_inodes"), needs_root=True),
        Fault("file size limit", inside=_limit_file_size),
        Fault("read-only disk", _read_only_disk, needs_root=True),
        Fault("folders not writable", partial(_without_mode, 0o222), _drop_capabilities),
        Fault(
            "files not readable",
            partial(_without_mode, 0o444),
            _drop_capabilities,
            hides_images=True,
        ),
        Fault("few open files", inside=_limit_open_files),
        Fault("HOME not writable", _unwritable_home, _drop_capabilities),
        Fault("TMPDIR missing", inside=_without_tmpdir),
        Fault("clock moved back", _from_the_future, _move_clock_back),
        Fault("stdout full", inside=partial(_to_full_device, 1), is_silent=True),
        Fault("stderr full", inside=partial(_to_full_device, 2), is_silent=True),
        Fault("image deleted", _restored_data, during=_delete_image, hides_images=True),
        Fault("image cut off", _restored_data, during=_cut_image, is_other_input=True),
        Fault("image exchanged", _restored_data, during=_exchange_image, is_other_input=True),
        Fault("bank deleted", _restored_bank, during=_delete_bank, for_bank=True),
        Fault("bank cut off", _restored_bank, during=_cut_bank, for_bank=True),
        Fault("bank exchanged", _restored_bank, during=_exchange_bank, for_bank=True),
        Fault("2 processes at once", processes=2),
        Fault("4 processes at once", processes=4),
    ]


def attack_under_faults(
    top: Path, cases: int, minutes: float, seed: int, only: Sequence[str]
) -> dict[str, Tally]:
    """Run commands under faults, every pair in turn; the tallies by fault.

    Args:
        only: the names of commands; none means all.
    """
    arena, kinds = Arena(top), [one for one in commands() if not only or one.name in only]
    chosen = [fault for fault in faults() if not (fault.needs_root and os.geteuid())]
    pairs = [
        (one, fault) for one, fault in product(kinds, chosen) if one.has_bank or not fault.for_bank
    ]
    random.Random(seed).shuffle(pairs)
    tallies = {fault.name: Tally() for fault in chosen}
    end = time.monotonic() + 60 * minutes
    for number in range(cases):
        one, fault = pairs[number % len(pairs)]
        if number >= len(pairs) and number // len(pairs) % one.every:
            continue
        ending, about = _case(one, fault, arena, random.Random(f"{seed}/{number}"))
        about = f"{fault.name}, {one.name}, case {number}: {ending}, {about}"
        tallies[fault.name].add(ending, about)
        if time.monotonic() > end:
            break
    arena.clear()
    return tallies


def _case(one: Command, fault: Fault, arena: Arena, rng: random.Random) -> tuple[str, str]:
    arena.reset(one)
    with fault.around(arena, one, rng):
        numbers = range(fault.processes)
        inside = partial(fault.inside, rng)
        children = [arena.start(one.words, inside, number) for number in numbers]
        if fault.during:
            time.sleep(max(0, rng.uniform(-0.1, 1.1)) * arena.undisturbed(one).seconds)
            with suppress(OSError):
                fault.during(arena, one, rng)
        codes = [finish(child) for child in children]
        printed = [arena.printed(number) for number in numbers]
        left = [pid for child in children for pid in outliving(child)]
    ending = _ending_of(fault, codes, printed)
    if ending[0] not in SURVIVED:
        return ending
    if left:
        return "outlived", f"{len(left)} processes outlived it"
    if parts := arena.leftovers():
        return "temporary files", ", ".join(parts)
    is_other_input = fault.is_other_input or (fault.hides_images and one.takes_those_there)
    if not is_other_input and (half := arena.half_written(one)):
        return "half-written", ", ".join(half)
    found = arena.give_again(one)
    if is_other_input and found and _is_sentence(found[1]):
        return ending
    return found or ending


def _ending_of(fault: Fault, codes: list[int], printed: list[str]) -> tuple[str, str]:
    """How the processes of a command ended."""
    for code, text in zip(codes, printed, strict=True):
        is_sentence = fault.is_silent or _is_sentence(text)
        if code not in (0, 2) or "Traceback" in text or (code and not is_sentence):
            return "not one sentence", f"exit code {code}, {text[-1500:]}"
    return REFUSED if any(codes) else DONE, ""


def _is_sentence(printed: str) -> bool:
    """Whether exactly one line reports an error, or a line names each cell of a grid that failed.

    Each process of several that run one grid leaves the cells of the others out.
    """
    lines = printed.splitlines()
    is_grid = any(line.startswith("failed: ") for line in lines)
    return is_grid or sum("error: " in line for line in lines) == 1


def _size(folder: Path) -> int:
    return sum(4096 + path.lstat().st_size for path in folder.rglob("*"))


@contextmanager
def _mounted(limit: str, arena: Arena, one: Command, rng: random.Random) -> Iterator[None]:
    """A file system in memory under the folder, with too little room."""
    known = arena.undisturbed(one)
    if limit == "size":
        more = sum(len(content) + 4096 for content in known.after.values())
        most, room = _size(arena.out) + int(rng.uniform(0, 1.5) * more), ROOM
    else:
        more = len(known.after) + 20
        most, room = 2 + len([*arena.out.rglob("*")]) + rng.randrange(more), 10**6
    shutil.rmtree(arena.out)
    arena.out.mkdir()
    _mount("-t", "tmpfs", "-o", f"{limit}={room}", "tmpfs", str(arena.out))
    shutil.copytree(known.folder, arena.out, dirs_exist_ok=True)
    _mount("-o", f"remount,{limit}={most}", str(arena.out))
    yield
    _mount("-o", f"remount,{limit}={room}", str(arena.out))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


@contextmanager
def _read_only_disk(arena: Arena, one: Command, rng: random.Random) -> Iterator[None]:
    _mount("--bind", str(arena.out), str(arena.out))
    _mount("-o", "remount,bind,ro", str(arena.out))
    yield
    subprocess.run(["umount", str(arena.out)], check=True)


@contextmanager
def _without_mode(bits: int, arena: Arena, one: Command, rng: random.Random) -> Iterator[None]:
    """Some files and folders without these bits of their mode."""
    places = [arena.out, *arena.out.rglob("*"), *(arena.top / "data").rglob("*.jpg")]
    chosen = places if bits == 0o222 else [rng.choice(places)]
    modes = {path: path.stat().st_mode for path in chosen}
    for path, mode in modes.items():
        path.chmod(mode & ~bits)
    yield
    for path, mode in modes.items():
        path.chmod(mode)


def _drop_capabilities(rng: random.Random) -> None:
    """Let the modes of files count for root too."""
    head = (ctypes.c_uint32 * 2)(CAPABILITIES, 0)
    ctypes.CDLL(None).capset(head, (ctypes.c_uint32 * 6)())


def _limit_file_size(rng: random.Random) -> None:
    most = int(2 ** rng.uniform(14, 21))  # which leaves room for what the command prints
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def _limit_open_files(rng: random.Random) -> None:
    most = rng.randrange(3, 40)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def _unwritable_home(arena: Arena, one: Command, rng: random.Random) -> Iterator[None]:
    shutil.rmtree(arena.home, ignore_errors=True)
    arena.home.mkdir(mode=0o555)
    if rng.random() < 0.5:
        arena.home.rmdir()
        arena.home.touch(0o444)
    yield
    if arena.home.is_dir():
        arena.home.chmod(0o755)
    else:
        arena.home.unlink()


def _without_tmpdir(rng: random.Random) -> None:
    os.environ.update(dict.fromkeys(("TMPDIR", "TMP", "TEMP"), "/missing"))
    tempfile.tempdir = None


@contextmanager
def _from_the_future(arena: Arena, one: Command, rng: random.Random) -> Iterator[None]:
    """The command was killed before, and all files are of a time that is still to come."""
    child = arena.start(one.words)
    time.sleep(rng.uniform(0, 1.1) * arena.undisturbed(one).seconds)
    with suppress(ProcessLookupError):
        os.killpg(child, 9)
    finish(child)
    outliving(child)
    for path in arena.leftovers():
        left = arena.out / path
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    later = time.time() + YEARS
    for path in [*arena.out.rglob("*"), *(arena.top / "data").rglob("*")]:
        os.utime(path, (later, later))
    yield


def _move_clock_back(rng: random.Random) -> None:
    """Let the time of day jump back after some calls."""
    clock, calls = time.time, iter(range(10**9))
    time.time = lambda: clock() - (next(calls) > 3) * YEARS


def _to_full_device(number: int, rng: random.Random) -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), number)


@contextmanager
def _restored_data(arena: Arena, one: Command, rng: random.Random) -> Iterator[None]:
    data, copy = arena.top / "data", arena.top / "data-copy"
    shutil.copytree(data, copy)
    yield
    shutil.rmtree(data)
    copy.rename(data)


def _some_image(arena: Arena, rng: random.Random) -> Path:
    return rng.choice(sorted((arena.top / "data").rglob("*.jpg")))


def _delete_image(arena: Arena, one: Command, rng: random.Random) -> None:
    _some_image(arena, rng).unlink()


def _cut_image(arena: Arena, one: Command, rng: random.Random) -> None:
    path = _some_image(arena, rng)
    os.truncate(path, rng.randrange(path.stat().st_size))


def _exchange_image(arena: Arena, one: Command, rng: random.Random) -> None:
    source, target = _some_image(arena, rng), _some_image(arena, rng)
    if rng.random() < 0.5:
        shutil.copyfile(source, target)
    else:  # at once, as by a rename
        shutil.copyfile(source, arena.top / "other.jpg")
        (arena.top / "other.jpg").replace(target)


def _bank(arena: Arena) -> Path:
    return arena.out / "run" / "bank.h5"


@contextmanager
def _restored_bank(arena: Arena, one: Command, rng: random.Random) -> Iterator[None]:
    copy = arena.top / "bank-copy.h5"
    shutil.copy2(_bank(arena), copy)
    yield
    copy.replace(_bank(arena))


def _delete_bank(arena: Arena, one: Command, rng: random.Random) -> None:
    _bank(arena).unlink()


def _cut_bank(arena: Arena, one: Command, rng: random.Random) -> None:
    os.truncate(_bank(arena), rng.randrange(_bank(arena).stat().st_size))


def _exchange_bank(arena: Arena, one: Command, rng: random.Random) -> None:
    """Put a bank of other pixels there, as by a rename or in place."""
    content = bytearray(_bank(arena).read_bytes())
    content[len(content) // 2] ^= 1
    if rng.random() < 0.5:
        _bank(arena).write_bytes(content)
    else:
        (arena.top / "other.h5").write_bytes(content)
        (arena.top / "other.h5").replace(_bank(arena))
