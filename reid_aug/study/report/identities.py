"""The gain of every identity: the AP of its queries, averaged."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reid_aug.study.report.gains import ap_differences, query_names
from reid_aug.study.report.results import Result

Pairs = Sequence[tuple[Result, Result]]


@dataclass(frozen=True, slots=True)
class IdentityGain:
    """The mean AP of an identity over its queries and all seeds, before and after; fractions."""

    pid: int
    queries: int
    before: float
    after: float

    @property
    def gain(self) -> float:
        """The difference between after and before."""
        return self.after - self.before


def identity_gains(pairs: Pairs) -> list[IdentityGain]:
    """The gain of every identity, the largest first.

    Args:
        pairs: results of a row, each with the result of the baseline of the same seed.

    Returns:
        An empty list where the results lack the AP of the same queries, or the pids.
    """
    if ap_differences(pairs) is None:
        return []
    queries: defaultdict[int, list[str]] = defaultdict(list)
    first = pairs[0][0]
    if first.query_pids is None:
        return []
    pids = dict(zip(first.ap, first.query_pids, strict=True))
    for name in query_names(first):
        queries[pids[name]].append(name)
    after, before = zip(*pairs, strict=True)
    gains = [
        IdentityGain(pid, len(names), _mean_ap(before, names), _mean_ap(after, names))
        for pid, names in queries.items()
    ]
    return sorted(gains, key=lambda each: (-each.gain, each.pid))


def _mean_ap(results: Sequence[Result], names: Sequence[str]) -> float:
    return float(np.mean([[result.ap[name] for name in names] for result in results]))
