"""Commands that are ended at random moments and given again.

After the second run, the files of the command must have the bytes of an undisturbed run, except for
entries that hold times. A third run must change none of them. A command that is interrupted by
Ctrl-C must end with exit code 130 and one sentence, and no process may outlive its command.
"""

import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.stress.attempts import DONE, Tally
from benchmarks.stress.commands import Arena, Command, commands, finish, in_turn, outliving

WAYS = ("SIGKILL", "SIGKILL of the group", "SIGTERM", "SIGINT")


def attack_commands(
    top: Path, cases: int, minutes: float, seed: int, only: Sequence[str]
) -> dict[str, Tally]:
    """End commands, the kinds in turn; the tallies by command."""
    arena, kinds = Arena(top), [one for one in commands() if not only or one.name in only]
    tallies = {one.name: Tally() for one in kinds}
    end = time.monotonic() + 60 * minutes
    for number, one in in_turn(kinds, cases):
        arena.undisturbed(one)
        ending, about = _case(one, arena, random.Random(f"{seed}/{number}"))
        tallies[one.name].add(ending, f"{one.name}, case {number}: {about}")
        if time.monotonic() > end:
            break
    arena.clear()
    return tallies


def _case(one: Command, arena: Arena, rng: random.Random) -> tuple[str, str]:
    arena.reset(one)
    way = rng.choice(WAYS)
    child = arena.start(one.words)
    time.sleep(rng.uniform(0, 1.1 * arena.undisturbed(one).seconds))
    _signal(child, way)
    code, printed = finish(child), arena.printed()
    if way == "SIGINT" and (code not in (0, 130) or "Traceback" in printed):
        return "not stopped well", f"{way}: exit code {code}, {printed}"
    if left := outliving(child):
        return "outlived", f"{way}: {len(left)} processes outlived it"
    ending, about = arena.give_again(one) or (DONE, "")
    return ending, f"{way}: {about}"


def _signal(child: int, way: str) -> None:
    kind = signal.Signals[way.split()[0]]
    if way.endswith("group") and os.getpgid(child) == child:
        os.killpg(child, kind)
    else:
        os.kill(child, kind)
