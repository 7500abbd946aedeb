"""Commands that are ended at random moments and given again.

After the second run, the files of the command must have the bytes of an undisturbed run, except for
entries that hold times. A third run must change none of them. A command that is interrupted by
Ctrl-C must end with exit code 130, and no process may outlive its command.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from benchmarks.grid_stress import members
from benchmarks.stress.attempts import READ, Tally
from reid_aug.backbones import torchreid_library
from reid_aug.cli import main
from reid_aug.people import PeopleConfig, write_people

WAYS = ("SIGKILL", "SIGKILL of the group", "SIGTERM", "SIGINT")
TIMED = ("made", "host", "seconds", "generating_seconds", "versions")  # keys that may differ
UNTIMED = ("reid_aug.result/1", "reid_aug.bank-card/1")  # formats of files that have such keys
IMPORTED = (
    "reid_aug.stages.bank.export", "reid_aug.stages.bank.import_", "reid_aug.stages.bank.score",
    "reid_aug.stages.bank.show", "reid_aug.stages.estimate_poses", "reid_aug.stages.synthesize",
    "reid_aug.stages.train_generator", "reid_aug.stages.train_reid", "reid_aug.stages.stage",
)  # fmt: skip
PATIENCE = 120.0  # seconds for one command
SMALL = (
    "--set", "data.height=32", "--set", "data.width=16", "--set", "generator.width=4",
    "--set", "generator.blocks=1", "--set", "train_generator.steps=4",
    "--set", "train_generator.batch=2", "--set", "train_generator.save_every=2",
    "--set", "train_generator.discriminator_width=4", "--set", "train_generator.pool=2",
    "--set", "train_reid.height=32", "--set", "train_reid.width=16", "--set", "train_reid.steps=4",
    "--set", "train_reid.batch=4", "--set", "train_reid.backbone=osnet_x0_25",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Killed:
    """A command: its arguments, where OUT stands for the folder that it writes to."""

    name: str
    words: tuple[str, ...]
    before: tuple[str, ...] = ()
    """A command that must have run in the folder before."""

    def arguments(self, out: Path, words: Sequence[str]) -> list[str]:
        return [word.replace("OUT", str(out)) for word in words]


def commands(data: Path) -> list[Killed]:
    """The commands that write files."""
    place = ("--data", str(data), "--out", "OUT/run", *SMALL)
    run = (*place, "--device", "cpu")  # of commands that compute
    images = str(data / "bounding_box_train")
    copies = ("synthesize", *run, "--ratio", "0.5", "--set", "synthesize.method=copies")
    points = ("--keypoints", "OUT/k.csv", "--from", str(data / "keypoints.csv"))
    return [
        Killed("people", ("people", "OUT/people", "--identities", "2", "--test-identities", "2")),
        Killed("estimate-poses --from", ("estimate-poses", str(data), *points)),
        Killed("bank import", ("bank", "import", images, *place)),
        Killed("synthesize", copies),
        Killed("bank score", ("bank", "score", *run), copies),
        Killed("bank export", ("bank", "export", "OUT/exported", *place), copies),
        Killed("bank show", ("bank", "show", *place), copies),
        Killed("train-generator", ("train-generator", *run)),
        Killed("train-reid", ("train-reid", *run, "--ratio", "0")),
    ]


def attack_commands(top: Path, cases: int, minutes: float, seed: int) -> dict[str, Tally]:
    """End commands, the kinds in turn; the tallies by command."""
    for module in IMPORTED:  # once, before the forks
        import_module(module)
    torchreid_library()
    data = top / "data"
    write_people(data, PeopleConfig(identities=4, test_identities=4))
    kinds = commands(data)
    tallies = {one.name: Tally() for one in kinds}
    whole = {one.name: _undisturbed(one, top / "whole" / str(n)) for n, one in enumerate(kinds)}
    end = time.monotonic() + 60 * minutes
    for number in range(cases):
        one = kinds[number % len(kinds)]
        rng = random.Random(f"{seed}/{number}")
        ending, about = _case(one, top / "case", *whole[one.name], rng)
        tallies[one.name].add(ending, f"{one.name}, case {number}: {about}")
        if time.monotonic() > end:
            break
    return tallies


def _undisturbed(one: Killed, out: Path) -> tuple[dict[str, bytes], float]:
    """The files of a run, and its seconds."""
    out.mkdir(parents=True)
    if one.before:
        _finish(_start(one.arguments(out, one.before), out))
    began = time.monotonic()
    code = _finish(_start(one.arguments(out, one.words), out))
    if code:
        sys.exit(f"{one.name}: exit code {code}")
    return dict(_files(out)), time.monotonic() - began


def _case(
    one: Killed, out: Path, wanted: Mapping[str, bytes], seconds: float, rng: random.Random
) -> tuple[str, str]:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    if one.before:
        _finish(_start(one.arguments(out, one.before), out))
    way = rng.choice(WAYS)
    child = _start(one.arguments(out, one.words), out)
    time.sleep(rng.uniform(0, 1.1 * seconds))
    _signal(child, way)
    code = _finish(child)
    if way == "SIGINT" and code not in (0, 130):
        return "exit code", f"{way}: exit code {code} instead of 130"
    if left := _members(child):
        return "outlived", f"{way}: {len(left)} processes outlived it"
    for again in ("second", "third"):
        if code := _finish(_start(one.arguments(out, one.words), out)):
            printed = _output_of(out).read_text(errors="replace")[-600:]
            return "not done again", f"{way}: the {again} run ended with {code}, {printed}"
        found = dict(_files(out))
        differing = sorted(n for n in {*found, *wanted} if found.get(n) != wanted.get(n))
        if differing:
            return "differs", f"{way}: after the {again} run, {', '.join(differing[:4])} differ"
    return READ, ""


def _start(arguments: Sequence[str], out: Path) -> int:
    """The pid of a process that runs a command, and prints into a file beside ``out``.

    SIGINT waits until the command begins, which answers it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    if child := os.fork():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return child
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 1
    with _output_of(out).open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        main(list(arguments))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except KeyboardInterrupt:  # before the command could answer it
        code = 130
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


def _output_of(out: Path) -> Path:
    """The file of what the commands of a case print."""
    return out.with_suffix(".txt")


def _signal(child: int, way: str) -> None:
    kind = signal.Signals[way.split()[0]]
    if way.endswith("group"):
        os.killpg(child, kind) if _has_group(child) else os.kill(child, kind)
    else:
        os.kill(child, kind)


def _has_group(child: int) -> bool:
    return os.getpgid(child) == child


def _finish(child: int) -> int:
    """The exit code; negative for a signal."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -999


def _members(session: int) -> list[int]:
    """The living processes of a session, after at most five seconds."""
    end = time.monotonic() + 5
    while (left := members(session)) and time.monotonic() < end:
        time.sleep(0.02)
    return left


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The bytes of every file by name, without times, own paths and leftovers of kills."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not path.name.endswith(".part"):
            yield name, _timeless(path.read_bytes()).replace(str(folder).encode(), b"OUT")


def _timeless(content: bytes) -> bytes:
    if not content.startswith(b"{"):
        return content
    try:
        value = json.loads(content)
    except ValueError:
        return content
    if not isinstance(value, dict) or value.get("format") not in UNTIMED:
        return content
    return json.dumps({k: v for k, v in value.items() if k not in TIMED}).encode()
