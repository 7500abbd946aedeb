"""Test a grid under kills at random moments.

    python benchmarks/grid_stress.py FOLDER [--times 10]    # SIGKILL at random moments

The grid is tiny and has all shared parts: a generator of the kept set, its bank, and a network that
scores the bank. ``reid-aug benchmark`` is killed at a random moment, and the same command runs
again. Its table must equal that of an uninterrupted run, and no process may outlive the killed one.
Then it runs a third time, which may rewrite no result.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from reid_aug.people import PeopleConfig, write_people

SETTLED = 30.0  # seconds for the processes of a killed benchmark to end
RECIPE = """
[data]
height = 32
width = 16
[generator]
width = 4
blocks = 1
[train_generator]
steps = 20
batch = 2
discriminator_width = 4
save_every = 5
[synthesize]
batch = 8
[train_reid]
steps = 20
batch = 4
height = 64
width = 32
"""
GRID = """
recipe = "{recipe}"
backbone = ["osnet_x0_25"]
keep = [0.5]
ratio = [0.0, 1.0]
generator = ["kept"]
min_score = ["", "margin=-0.5"]
seed = [0]
"""


def begin(folder: Path, run: str) -> subprocess.Popen[str]:
    """Start the benchmark in its own process session, with output in ``folder / run``."""
    words = [folder / "grid.toml", "--data", folder / "people", "--out", folder / run]
    words += ["--device", "cpu", "--workers", 2]
    return subprocess.Popen(
        [sys.executable, "-m", "reid_aug", "benchmark", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def table(folder: Path, run: str) -> str:
    """The output of an uninterrupted benchmark.

    Raises:
        SystemExit: If it fails.
    """
    process = begin(folder, run)
    found, errors = process.communicate()
    if process.returncode:
        sys.exit(f"{run}: exit code {process.returncode}, {errors}")
    return found


def members(session: int) -> list[int]:
    """The pids of the living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = path.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(own) == session and state not in "ZX":
            found.append(int(path.parent.name))
    return found


def results(folder: Path) -> dict[Path, int]:
    """The modification time of each result, in ns."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("result.json")}


def prepare(folder: Path) -> None:
    """Write the people, the recipe and the grid."""
    write_people(folder / "people", PeopleConfig(identities=4, test_identities=4))
    (folder / "small.toml").write_text(RECIPE)
    (folder / "grid.toml").write_text(GRID.format(recipe=folder / "small.toml"))


def killed(
    folder: Path, times: int, seed: int = 0, report: Callable[[str], None] = print
) -> Counter[str]:
    """Kill the benchmark at random moments; count what it was doing.

    Raises:
        SystemExit: If a table differs, a process is left, or a result is rewritten needlessly.
    """
    prepare(folder)
    began = time.monotonic()
    wanted = table(folder, "whole")
    seconds = time.monotonic() - began
    moments, found = random.Random(seed), Counter[str]()
    for number in range(times):
        run = f"run{number}"
        doing = _kill(folder, run, moments.uniform(0, seconds))
        found[doing] += 1
        if table(folder, run) != wanted:
            sys.exit(f"{run}, killed while {doing}, printed a different table")
        before = results(folder / run)
        if table(folder, run) != wanted or results(folder / run) != before:
            sys.exit(f"{run}: a finished grid was changed")
        report(f"{run}: killed while {doing}; the same table")
        shutil.rmtree(folder / run)
    return found


def _kill(folder: Path, run: str, after: float) -> str:
    process = begin(folder, run)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    doing = _was_doing(folder / run)
    end = time.monotonic() + SETTLED
    while (left := members(process.pid)) and time.monotonic() < end:
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    if left:
        sys.exit(f"{run}: killed while {doing}, {len(left)} processes outlived it")
    return doing


def _was_doing(folder: Path) -> str:
    done, cells = len(results(folder)), len([*folder.glob("reid/*")])
    if cells:
        return "training cells" if done < cells else "between cells, or at the end"
    if any(folder.rglob("bank.h5")):
        return "done with the bank"
    if any(folder.rglob("generator.safetensors")):
        return "generating the bank"
    return "training the generator" if any(folder.rglob("training/*")) else "starting"


def main() -> None:
    """Kill benchmarks and print what they were doing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    found = killed(folder, arguments.times, arguments.seed, lambda line: print(line, flush=True))
    print(f"{arguments.times} kills, the same table every time; they hit runs that")
    print("\n".join(f"    were {what}: {times}" for what, times in found.most_common()))


if __name__ == "__main__":
    main()
