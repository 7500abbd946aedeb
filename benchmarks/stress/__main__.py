"""The command line of the attacks."""

import argparse
import os
import random
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.stress.attempts import Tally, attempt_all
from benchmarks.stress.formats import Format, formats
from benchmarks.stress.mutations import mutate

BATCH = 20  # cases of one format in one process, as long as it lives
BY_COMMAND = "bank.h5, by a command"  # slow, because each starts a child


def attack_files(
    top: Path, cases: int, minutes: float, seed: int, only: Sequence[str]
) -> dict[str, Tally]:
    """Mutate and read files, the formats in turn; the tallies by format."""
    kinds = [one for one in formats(top) if not only or one.name in only]
    tallies = {one.name: Tally() for one in kinds}
    end = time.monotonic() + 60 * minutes
    number = 0
    while number < cases and time.monotonic() < end:
        one = kinds[number // BATCH % len(kinds)]
        count = min(BATCH if one.name != BY_COMMAND else 2, cases - number)
        for ending, about in _batch(one, top / "cases", seed, number, count):
            tallies[one.name].add(ending, about)
        number += BATCH
    return tallies


def _batch(one: Format, at: Path, seed: int, first: int, count: int) -> list[tuple[str, str]]:
    """The endings of ``count`` cases of one format, and what is known about each."""
    shutil.rmtree(at, ignore_errors=True)
    names, works = [], []
    for number in range(first, first + count):
        own = at / str(number)
        shutil.copytree(one.folder, own)
        names.append(mutate(own / one.file, one.is_text, random.Random(f"{seed}/{number}")))
        works.append(partial(one.read, own))
    return [
        (ending, f"{one.name}, case {first + place}, {names[place]}: {ending}\n{message}")
        for place, (ending, message) in enumerate(attempt_all(works))
    ]


def main() -> None:
    """Run an attack and print its tallies."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stress")
    parser.add_argument("what", choices=("files", "kills", "faults"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], help="a format or command")
    given = parser.parse_args()
    torch.set_num_threads(1)
    top = given.folder.absolute()
    shutil.rmtree(top / given.what, ignore_errors=True)
    (top / given.what).mkdir(parents=True)
    began = time.monotonic()
    attack, limits = _attacks()[given.what], (given.cases, given.minutes, given.seed, given.only)
    tallies = attack(top / given.what, *limits)
    _print(tallies, time.monotonic() - began)
    raise SystemExit(any(tally.losses for tally in tallies.values()))


def _attacks() -> dict[str, Callable[[Path, int, float, int, Sequence[str]], dict[str, Tally]]]:
    from benchmarks.stress.faults import attack_under_faults
    from benchmarks.stress.kills import attack_commands

    return {"files": attack_files, "kills": attack_commands, "faults": attack_under_faults}


def _print(tallies: dict[str, Tally], seconds: float) -> None:
    for name, tally in tallies.items():
        print(tally.line(name))
    tried = sum(tally.ended.total() for tally in tallies.values())
    lost = sum(len(tally.losses) for tally in tallies.values())
    about = f"{seconds:.0f} s, load {os.getloadavg()[0]:.0f}"
    print(f"together: tried {tried}, survived {tried - lost}, lost {lost}; {about}")


if __name__ == "__main__":
    main()
