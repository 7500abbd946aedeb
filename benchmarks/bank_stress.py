"""Test a bank under kills, interrupts and a full disk, and measure its memory.

    python benchmarks/bank_stress.py kills FOLDER [--times 50]    # SIGKILL at random moments
    python benchmarks/bank_stress.py stops FOLDER [--times 20]    # Ctrl-C at random moments
    python benchmarks/bank_stress.py full FOLDER      # FOLDER is on a small disk, which is filled
    python benchmarks/bank_stress.py memory FOLDER    # 1,000 and 20,000 images of 128 x 64
    python benchmarks/bank_stress.py generate FOLDER  # one run; the other modes start it

A stand-in method generates the images without torch, so that start-up takes little time. The rest
is the code of ``reid-aug synthesize``. After every interruption the same command runs again, and
its ``bank.h5`` is compared byte by byte with that of an uninterrupted run.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from reid_aug.bank import BankAttributes, BankPlan, Rows, write_bank
from reid_aug.bank.shards import Shards
from reid_aug.cli.errors import OneLine
from reid_aug.runtime.files import sha256

READY = "at work"
BATCH = 32
ATTRIBUTES = BankAttributes(
    keep=1.0,
    keep_seed=0,
    kept_sha256="0" * 64,
    dataset_sha256="0" * 64,
    keypoints_sha256="0" * 64,
    generator_sha256="0" * 64,
    generator_data="kept",
    ratio=1.0,
    mode="supplement",
    plan=BankPlan("random", "source", "stand-in"),
    seed=0,
)


class StandIn:
    """A method whose images are patterns that depend on the row number only."""

    def __init__(self, size: tuple[int, int], delay: float) -> None:
        self.delay = delay
        self.pattern = np.arange(size[0] * size[1] * 3, dtype=np.uint32).reshape(1, *size, 3)

    def read(self, rows: Sequence[int]) -> np.ndarray:
        return np.array(rows, np.uint32).reshape(-1, 1, 1, 1)

    def compute(self, material: np.ndarray) -> np.ndarray:
        time.sleep(self.delay)
        return (self.pattern * (material + 1) >> 3).astype(np.uint8)

    def finish(self, images: np.ndarray, rows: Sequence[int]) -> np.ndarray:
        return 255 - images


def generate(folder: Path, count: int, size: tuple[int, int], delay: float) -> Path:
    """Generate a bank of ``count`` rows, or its missing part; return its path."""
    path = folder / "bank.h5"
    names = np.array([f"{row % 751:04d}_c1s1_{row:06d}_00.jpg" for row in range(count)])
    poses = np.zeros((count, 18, 2))
    rows = Rows(np.arange(count) % 751, np.ones(count), names, names, poses)
    shards, method = Shards(path, "stand-in", count), StandIn(size, delay)
    with shards.membership():
        shards.generate(range(count), method, BATCH)
        shards.assemble(lambda pixels: write_bank(path, rows, pixels, ATTRIBUTES))
    return path


def generate_as_a_command(arguments: argparse.Namespace) -> None:
    """The work of a child process, which exits as every command of reid-aug does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell sets it to ignored after "&"
    print(READY, flush=True)
    generate(arguments.folder, arguments.rows, _size(arguments), arguments.delay)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({"peak_mb": round(used)}), file=sys.stderr)


class Run:
    """``generate`` in its own process; ``errors`` is its stderr after :meth:`end`."""

    def __init__(self, folder: Path, arguments: argparse.Namespace, **more: Any) -> None:
        words = ["generate", folder, "--rows", arguments.rows, "--delay", arguments.delay]
        words += ["--height", arguments.height, "--width", arguments.width]
        self.process = subprocess.Popen(
            [sys.executable, __file__, *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.process.stdout.readline()  # READY

    def end(self) -> int:
        """Wait for the process; return its exit code."""
        _, self.errors = self.process.communicate()
        return self.process.returncode


def interrupted(folder: Path, arguments: argparse.Namespace, how: int) -> Counter[str]:
    """Interrupt runs at random moments; count what they were doing.

    Raises:
        SystemExit: If a bank differs from that of the uninterrupted run.
    """
    whole = Run(folder / "whole", arguments)
    began = time.perf_counter()
    whole.end()
    seconds = time.perf_counter() - began
    wanted = (folder / "whole/bank.h5").read_bytes()
    moments, found = random.Random(arguments.seed), Counter[str]()
    for number in range(arguments.times):
        target = folder / f"run{number}"
        run = Run(target, arguments)
        time.sleep(moments.uniform(0, seconds))
        run.process.send_signal(how)
        code = run.end()
        found[_was_doing(target)] += 1
        if how == signal.SIGINT and (code not in (0, 130) or "Traceback" in run.errors):
            sys.exit(f"Ctrl-C: exit code {code}, {run.errors}")
        again = Run(target, arguments)
        if again.end() or (target / "bank.h5").read_bytes() != wanted:
            sys.exit(f"run {number} made a different bank: {again.errors}")
        if left := sorted(path.name for path in target.iterdir() if path.name != "bank.h5"):
            sys.exit(f"run {number} left {left}")
        shutil.rmtree(target)
    return found


def _was_doing(folder: Path) -> str:
    if (folder / "bank.h5").exists():
        return "finished, or cleaning up"
    if any(folder.glob(".bank.h5.*.part")):
        return "assembling the bank"
    if any(folder.glob("shards/*/.*.part")):
        return "writing a shard"
    return "generating"


def fill(folder: Path, arguments: argparse.Namespace) -> str:
    """Generate onto a disk that other files fill up at five sizes; return the error messages.

    Raises:
        SystemExit: If a run prints more or less than one line, or leaves a partial file.
    """
    with tempfile.TemporaryDirectory() as elsewhere:
        whole = generate(Path(elsewhere), arguments.rows, _size(arguments), 0.0)
        wanted, size = sha256(whole), whole.stat().st_size
    folder.mkdir(parents=True, exist_ok=True)
    ballast, messages = folder / "ballast", set()
    for part in (0.2, 0.5, 0.95, 1.3, 1.7):  # free space, as a part of the bank's size
        _fill_up(ballast, int(part * size))
        run = Run(folder, arguments)
        code = run.end()
        lines = run.errors.splitlines()
        if code != 2 or len(lines) != 1:
            sys.exit(f"room for {part} banks: exit code {code}, {run.errors}")
        messages.add(lines[0].rpartition(": ")[2])
        if (folder / "bank.h5").exists() or any(folder.rglob("*.part")):
            sys.exit("a partial file was left")
        ballast.unlink()
    if Run(folder, arguments).end() or sha256(folder / "bank.h5") != wanted:
        sys.exit("with free space again, the bank differs")
    return "; ".join(sorted(messages))


def _fill_up(ballast: Path, room: int) -> None:
    free = shutil.disk_usage(ballast.parent).free
    written = sum(path.stat().st_size for path in ballast.parent.glob("shards/*/*.npy"))
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free + written - room))


def peak(folder: Path, arguments: argparse.Namespace) -> float:
    """The peak memory of a run, in MB."""
    run = Run(folder, arguments)
    if run.end():
        sys.exit(run.errors)
    return json.loads(run.errors)["peak_mb"]


def _size(arguments: argparse.Namespace) -> tuple[int, int]:
    return arguments.height, arguments.width


def main() -> None:
    """Run one mode and print its result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("generate", "kills", "stops", "full", "memory"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--delay", type=float, default=0.002, help="seconds per batch")
    arguments = parser.parse_args()
    folder = arguments.folder
    if arguments.what == "generate":
        command = click.Command("generate", callback=lambda: generate_as_a_command(arguments))
        OneLine(commands={"generate": command}).main(["generate"])
    elif arguments.what == "full":
        print(f"a full disk, five times: {fill(folder, arguments)}")
    elif arguments.what == "memory":
        arguments.height, arguments.width, arguments.delay = 128, 64, 0.0
        for arguments.rows in (1000, 20_000):
            print(f"{arguments.rows} images: {peak(folder / str(arguments.rows), arguments)} MB")
    else:
        how = {"kills": signal.SIGKILL, "stops": signal.SIGINT}[arguments.what]
        found = interrupted(folder, arguments, how)
        print(f"{arguments.times} {arguments.what}, the same bytes every time; they hit runs that")
        print("\n".join(f"    were {what}: {times}" for what, times in found.most_common()))


if __name__ == "__main__":
    main()
