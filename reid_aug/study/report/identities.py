"""The gain of every identity and of every camera: the AP of its queries, averaged."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reid_aug.study.report.gains import ap_differences, query_names
from reid_aug.study.report.results import Result

Pairs = Sequence[tuple[Result, Result]]


@dataclass(frozen=True, slots=True)
class GroupGain:
    """The mean AP of some queries and all seeds, before and after; fractions."""

    number: int
    """The pid or the camid of the queries."""
    queries: int
    before: float
    after: float

    @property
    def gain(self) -> float:
        """The difference between after and before."""
        return self.after - self.before


def identity_gains(pairs: Pairs) -> list[GroupGain]:
    """The gain of every identity, the largest first.

    Args:
        pairs: results of a row, each with the result of the baseline of the same seed.

    Returns:
        An empty list where the results lack the AP of the same queries, or the pids.
    """
    gains = _gains(pairs, pairs[0][0].query_pids) if pairs else []
    return sorted(gains, key=lambda each: (-each.gain, each.number))


def camera_gains(pairs: Pairs) -> list[GroupGain]:
    """The gain of the queries of every camera, sorted by camid; as :func:`identity_gains`."""
    gains = _gains(pairs, pairs[0][0].query_camids) if pairs else []
    return sorted(gains, key=lambda each: each.number)


def _gains(pairs: Pairs, groups: Sequence[int] | None) -> list[GroupGain]:
    """The gains of groups of queries; ``groups`` has one number per query, in the order of AP."""
    if ap_differences(pairs) is None or groups is None:
        return []
    numbers = dict(zip(pairs[0][0].ap, groups, strict=True))
    queries: defaultdict[int, list[str]] = defaultdict(list)
    for name in query_names(pairs[0][0]):
        queries[numbers[name]].append(name)
    after, before = zip(*pairs, strict=True)
    return [
        GroupGain(number, len(names), _mean_ap(before, names), _mean_ap(after, names))
        for number, names in queries.items()
    ]


def _mean_ap(results: Sequence[Result], names: Sequence[str]) -> float:
    return float(np.mean([[result.ap[name] for name in names] for result in results]))
