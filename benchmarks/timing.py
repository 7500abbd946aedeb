"""Timing two ways of doing one thing in one run.

They take turns, so that a machine whose speed drifts slows both; every figure is a median, and the
ratio is the median of the turns' ratios. Work on a GPU is waited for.
"""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch


class Comparison(NamedTuple):
    """Median seconds of both, and how many times faster ours is."""

    ours: float
    theirs: float
    ratio: float

    def line(self, what: str, count: int) -> str:
        """The result in words, of work that does ``count`` things a call."""
        return (
            f"{what}: ours {count / self.ours:.4g}, published {count / self.theirs:.4g} a second; "
            f"ratio {self.ratio:.2f}"
        )


def compare(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    device: torch.device,
    repeats: int,
) -> Comparison:
    """Run both in turns, once to warm up and then ``repeats`` times."""
    turns = [(seconds(ours, device), seconds(theirs, device)) for _ in range(repeats + 1)][1:]
    first, second = (statistics.median(column) for column in zip(*turns, strict=True))
    return Comparison(first, second, statistics.median(b / a for a, b in turns))


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long one call takes."""
    _wait(device)
    began = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
