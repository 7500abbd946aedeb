"""Compare the evaluation with torchreid's, on a ranking of Market-1501's size.

    python benchmarks/evaluation.py --times 3

3,368 queries and 15,913 gallery images of 750 identities under six cameras, with distractors. The
features are simulated, so no data set is needed. Both take turns, and the best time of each counts.
Memory is the growth of the process at its peak, in addition to the distance matrix.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from reid_aug.backbones import torchreid_library
from reid_aug.evaluation import evaluate

IDENTITIES, CAMERAS = 750, 6
QUERIES, MATCHES, DISTRACTORS = 3_368, 13_115, 2_798
DIMENSIONS = 64
OURS, THEIRS = "reid-aug", "torchreid"


def ranking(seed: int, scale: float) -> tuple[np.ndarray, ...]:
    """Simulated distances (Q, G) float32, and query and gallery pids and camids."""
    rng = np.random.default_rng(seed)
    queries, matches, others = (int(n * scale) for n in (QUERIES, MATCHES, DISTRACTORS))
    identities = max(2, int(IDENTITIES * scale))
    query_pids = 1 + np.arange(queries) % identities
    gallery_pids = np.concatenate([1 + np.arange(matches) % identities, np.zeros(others, int)])
    sizes = queries, matches + others
    query_camids, gallery_camids = (rng.integers(1, CAMERAS + 1, size) for size in sizes)
    centres = rng.normal(size=(identities + 1, DIMENSIONS))
    styles = rng.normal(size=(CAMERAS + 1, DIMENSIONS))

    def features(pids: np.ndarray, camids: np.ndarray) -> np.ndarray:
        own = np.where(pids[:, None] > 0, centres[pids], rng.normal(size=(len(pids), DIMENSIONS)))
        return own + 0.5 * styles[camids] + 1.1 * rng.normal(size=(len(pids), DIMENSIONS))

    query, gallery = features(query_pids, query_camids), features(gallery_pids, gallery_camids)
    distances = (query**2).sum(1)[:, None] + (gallery**2).sum(1) - 2 * query @ gallery.T
    columns = query_pids, gallery_pids, query_camids, gallery_camids
    return distances.astype(np.float32), *columns


def measured(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds, growth of the process at its peak in MB, and the result."""
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before, began = memory("VmRSS"), time.perf_counter()
    result = work()
    return time.perf_counter() - began, memory("VmHWM") - before, result


def memory(what: str) -> float:
    """A value of the process's status, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def main() -> None:
    """Time both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3, help="how often each is timed")
    parser.add_argument("--scale", type=float, default=1.0, help="as a part of Market-1501's size")
    given = parser.parse_args()
    scene = ranking(0, given.scale)
    evaluate_rank = torchreid_library().metrics.evaluate_rank
    works = {
        OURS: lambda: evaluate(*scene).mAP,
        THEIRS: lambda: evaluate_rank(*scene, use_metric_cuhk03=False)[1],
    }
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in works}
    for _ in range(given.times):
        for name, work in works.items():
            found[name].append(measured(work))
    queries, gallery = scene[0].shape
    print(f"{queries} queries, {gallery} gallery images, best of {given.times}\n")
    print("| | seconds | MB in addition to the distances | mAP |\n| --- | --- | --- | --- |")
    for name, rows in found.items():
        seconds, most, score = min(row[0] for row in rows), max(row[1] for row in rows), rows[0][2]
        print(f"| {name} | {seconds:.2f} | {most:.1f} | {score:.9f} |")
    ours, theirs = (min(row[0] for row in found[name]) for name in (OURS, THEIRS))
    print(f"\nratio: {theirs / ours:.0f}")


if __name__ == "__main__":
    main()
