"""The gain of a row over its baseline, and whether it is larger than noise.

A gain is the difference in mAP between trainings of the same seeds, tested on the same queries. It
has two sources of uncertainty, and each of the two 95 % intervals covers one of them well.

*Over seeds*: Student's t of the paired differences, one per seed. It covers whether trainings with
other seeds would show the gain on these queries. It is correct with two or three seeds, where it is
wide. With one seed there is no such interval.

*Over queries and seeds*: the percentile bootstrap of the differences in AP, one per query and seed.
Each resample draws queries, and independently pairs of trainings, with replacement. It covers
whether other queries would show the gain too. With few seeds it is too narrow for their part of the
noise: three seeds have only ten multisets, and the variance of their mean in a resample is two
thirds of what it should be. With one seed it is an interval over queries only.

Therefore both decide together: a gain counts as better or worse only where 0 lies outside both
intervals, and as "within noise" where one of them contains 0. The best verdict of one seed is "one
seed", because its training noise is unknown. Queries of one identity are alike, which neither
interval takes into account, and no interval is widened for the number of rows in a table.

Results without the AP of every query have the first interval only.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from reid_aug.study.report.results import Result

RESAMPLES = 4000
CONFIDENCE = 0.95
RESAMPLED_BLOCK = 500  # resamples whose draws are in memory at a time


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval from ``low`` to ``high``, fractions."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies inside the interval or on one of its ends."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Gain:
    """Difference in mAP from the baseline, and its 95 % intervals; fractions."""

    mean: float
    seeds: int  # number of seeds that row and baseline have in common
    over_seeds: Interval | None  # None with one seed
    over_queries: Interval | None  # None where a result lacks the AP of its queries

    @property
    def verdict(self) -> str:
        """Better, worse or within noise; with one seed, "within noise (one seed)" or "one seed"."""
        intervals = [each for each in (self.over_seeds, self.over_queries) if each]
        noise = any(each.holds(0) for each in intervals)
        if self.seeds == 1:
            return "within noise (one seed)" if noise else "one seed"
        return "within noise" if noise else "better" if self.mean > 0 else "worse"


def gain_of(ours: Sequence[Result], theirs: Sequence[Result]) -> Gain | None:
    """The gain of one row's results over another's; None without a common seed."""
    before = {result.seed: result for result in theirs}
    pairs = [(result, before[result.seed]) for result in ours if result.seed in before]
    if not pairs:
        return None
    differences = np.array([one.mAP - other.mAP for one, other in pairs])
    by_query = ap_differences(pairs)
    return Gain(
        float(differences.mean()),
        len(pairs),
        paired_t(differences) if len(pairs) > 1 else None,
        bootstrap(by_query) if by_query is not None else None,
    )


def paired_t(differences: np.ndarray) -> Interval:
    """The 95 % interval of a mean of two or more differences, by Student's t."""
    from scipy.stats import t  # here, because loading it takes longer than printing a table

    count, mean = len(differences), float(differences.mean())
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, count - 1))
    width = quantile * float(differences.std(ddof=1)) / math.sqrt(count)
    return Interval(mean - width, mean + width)


def ap_differences(pairs: Sequence[tuple[Result, Result]]) -> np.ndarray | None:
    """(seeds, queries) float64 differences in AP; None unless all results have the same queries.

    Queries that do not count, because they have no match, are left out.
    """
    names = query_names(pairs[0][0])
    if not names or any(query_names(result) != names for pair in pairs for result in pair):
        return None
    after, before = ([[pair[side].ap[n] for n in names] for pair in pairs] for side in (0, 1))
    result: np.ndarray | None = np.array(after, float) - np.array(before, float)
    return result


def query_names(result: Result) -> list[str]:
    """The queries of a result that count, sorted."""
    return sorted(name for name, ap in result.ap.items() if ap is not None)


def bootstrap(differences: np.ndarray, seed: int = 0) -> Interval:
    """The 95 % percentile interval of the mean, over rows and columns resampled independently.

    Args:
        differences: (seeds, queries).
        seed: seed of the resamples; the same seed gives the same interval.
    """
    seeds, queries = differences.shape
    trainings = _counts(seed + 1, seeds)
    means = (_counts(seed, queries) @ differences.T * trainings).sum(1) / (seeds * queries)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high))


@lru_cache(maxsize=4)  # all rows of a table have the same queries
def _counts(seed: int, count: int) -> np.ndarray:
    """(RESAMPLES, count): how often each of ``count`` items is drawn in each resample."""
    rng = np.random.default_rng([seed, count])
    blocks = []
    for start in range(0, RESAMPLES, RESAMPLED_BLOCK):
        size = min(RESAMPLED_BLOCK, RESAMPLES - start)
        drawn = rng.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        tally = np.bincount(drawn.ravel(), minlength=size * count)
        blocks.append(tally.reshape(size, count).astype(np.float32))
    return np.concatenate(blocks)
