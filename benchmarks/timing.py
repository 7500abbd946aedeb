"""Timing of two implementations in one run.

They take turns, so that drift of the machine's speed affects both. Every figure is a median, and
the ratio is the median of the ratios of the turns. Work on a GPU is synchronised.
"""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch


class Comparison(NamedTuple):
    """Median seconds of both, and the speed of ours as a multiple of theirs."""

    ours: float
    theirs: float
    ratio: float

    def line(self, what: str, count: int) -> str:
        """The result as text, of work that handles ``count`` items per call."""
        return (
            f"{what}: ours {count / self.ours:.4g}, published {count / self.theirs:.4g} "
            f"per second; ratio {self.ratio:.2f}"
        )


def compare(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    device: torch.device,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Run both in turns, once to warm up and then ``repeats`` times.

    Args:
        clock: ``time.process_time`` gives times of the processor, which other programs on the
            machine hardly change; only for work on one thread of the CPU.
    """
    works = ours, theirs
    turns = [[seconds(work, device, clock) for work in works] for _ in range(repeats + 1)][1:]
    first, second = (statistics.median(column) for column in zip(*turns, strict=True))
    return Comparison(first, second, statistics.median(b / a for a, b in turns))


def seconds(
    work: Callable[[], object],
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """The seconds of one call."""
    _wait(device)
    began = clock()
    work()
    _wait(device)
    return clock() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
