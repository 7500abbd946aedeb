"""Commands that are ended at random moments and given again."""

from pathlib import Path
from benchmarks.stress.attempts import Tally


def attack_commands(top: Path, cases: int, minutes: float, seed: int) -> dict[str, Tally]:
    return {}
