"""How often each interval of a gain reports a gain where there is none.

    python benchmarks/intervals.py

The script simulates studies in which generated images change nothing on average. Trainings differ
by their seed (standard deviation 2 points of mAP between two of them), queries by how well a
training set suits them (10 points of AP), and every single AP by chance (15 points). A correct
95 % interval reports a gain in 5 % of the studies. The script then prints the time of a bootstrap
at the size of Market-1501, and how much wider the interval is on the low-data study when whole
identities are resampled instead of queries.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from reid_aug.study.report import read_results
from reid_aug.study.report.gains import Interval, ap_differences, bootstrap, paired_t, query_names
from reid_aug.study.report.rows import Line, lines_of

SEED_NOISE, QUERY_NOISE, CHANCE = 0.02, 0.10, 0.15
SIZES = ((3, 250), (5, 250), (3, 3368), (5, 3368), (10, 3368))
VERDICTS: dict[str, Callable[[np.ndarray], list[Interval]]] = {
    "over seeds": lambda d: [paired_t(d.mean(1))],
    "over queries and seeds": lambda d: [bootstrap(d)],
    "both": lambda d: [paired_t(d.mean(1)), bootstrap(d)],
}


def no_gain(rng: np.random.Generator, seeds: int, queries: int) -> np.ndarray:
    """Differences in AP, (seeds, queries), of a study without a gain."""
    by_seed = rng.normal(0, SEED_NOISE, (seeds, 1))
    by_query = rng.normal(0, QUERY_NOISE, (1, queries))
    return by_seed + by_query + rng.normal(0, CHANCE, (seeds, queries))


def found(intervals: list[Interval]) -> bool:
    """Whether all intervals exclude 0."""
    return not any(each.holds(0) for each in intervals)


def widening(line: Line) -> float:
    """Width of the bootstrap over identities and seeds, as a multiple of that over queries."""
    before = {result.seed: result for result in line.baseline.results}
    pairs = [(result, before[result.seed]) for result in line.row.results]
    differences, rng = ap_differences(pairs), np.random.default_rng(0)
    pids = np.array([int(name.partition("_")[0]) for name in query_names(pairs[0][0])])
    members = (pids == np.unique(pids)[:, None]).astype(float)  # (identities, queries)
    means = []
    for _ in range(4000):
        drawn = members[rng.integers(len(members), size=len(members))].sum(0)
        trainings = rng.integers(len(differences), size=len(differences))
        means.append(differences[trainings].mean(0) @ drawn / drawn.sum())
    low, high = np.quantile(means, [0.025, 0.975])
    queries = line.gain.over_queries
    return float((high - low) / (queries.high - queries.low))


def main() -> None:
    """Print the table, the time and the widening."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=400)
    studies = parser.parse_args().studies
    print(f"| seeds | queries | {' | '.join(f'{name}, %' for name in VERDICTS)} |")
    print("| --- | --- |" + " --- |" * len(VERDICTS))
    for seeds, queries in SIZES:
        rng = np.random.default_rng([seeds, queries])
        made = [no_gain(rng, seeds, queries) for _ in range(studies)]
        rates = [
            np.mean([found(intervals(one)) for one in made]) for intervals in VERDICTS.values()
        ]
        cells = " | ".join(f"{100 * rate:.1f}" for rate in rates)
        print(f"| {seeds} | {queries} | {cells} |")
    one = no_gain(np.random.default_rng(0), 5, 3368)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        bootstrap(one)
        times.append(time.perf_counter() - began)
    print(f"\nbootstrap of 5 seeds and 3,368 queries: {1000 * np.median(times):.0f} ms per row")
    lines = lines_of(read_results(Path(__file__).with_name("results") / "lowdata"))
    factors = np.array([widening(line) for line in lines if line.gain])
    low, middle, high = np.quantile(factors, [0, 0.5, 1])
    print(f"over identities it is {low:.2f} to {high:.2f} times as wide, median {middle:.2f}")


if __name__ == "__main__":
    main()
