"""How many items per second a piece of work handles, and in which precision."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.gpu.schedule import Scene
from benchmarks.timing import Comparison, seconds

PRECISIONS = ("fp32", "tf32", "bf16")


def rate(work: Callable[[], object], count: int, scene: Scene) -> dict[str, Any]:
    """Items per second by the median of several calls, and on a GPU the largest memory in bytes.

    The first calls warm up. Calls are repeated until they took two seconds together, 3 to 50 times.

    Args:
        count: the items that one call handles.
    """
    device = scene.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(1 if scene.is_tiny else 3):
        seconds(work, device)
    times: list[float] = []
    while len(times) < 3 or (sum(times) < (0 if scene.is_tiny else 2) and len(times) < 50):
        times.append(seconds(work, device))
    found = {"per_second": count / statistics.median(times), "repeats": len(times)}
    if device.type == "cuda":
        found["memory"] = torch.cuda.max_memory_allocated(device)
    return found


def beside(found: Comparison, count: int, other: str) -> dict[str, float]:
    """A comparison in turns as rates of ours and of the other."""
    return {
        "per_second": count / found.ours,
        f"{other}_per_second": count / found.theirs,
        "ratio": found.ratio,
    }


@contextmanager
def precision(name: str, device: torch.device) -> Iterator[None]:
    """Compute in "fp32", "tf32" or "bf16" (autocast; what it does not change is in TF32)."""
    flags = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [flag.allow_tf32 for flag in flags]
    for flag in flags:
        flag.allow_tf32 = name != "fp32"
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16"):
            yield
    finally:
        for flag, value in zip(flags, before, strict=True):
            flag.allow_tf32 = value
