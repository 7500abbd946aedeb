"""The gain of every identity and of every camera: the AP of its queries, averaged.

Fifths of the identities by their difficulty show which ones gain. An identity that scored low by
chance would gain by chance too. Therefore the baselines of the other seeds choose the fifth of an
identity, and the gain is that of the seed that had no part in the choice.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reid_aug.study.report.gains import ap_differences, query_names
from reid_aug.study.report.results import Result

FIFTHS = 5

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


@dataclass(frozen=True, slots=True)
class FifthGain:
    """The mean AP of a fifth of the identities, before and after; fractions."""

    identities: int
    before: float
    after: float

    @property
    def gain(self) -> float:
        """The difference between after and before."""
        return self.after - self.before


def difficulty_gains(pairs: Pairs) -> list[FifthGain]:
    """The gains of the fifths of the identities, the most difficult identities first.

    Args:
        pairs: as for :func:`identity_gains`.

    Returns:
        An empty list with one seed, with fewer than two identities per fifth, or where the results
        lack the AP of the same queries.
    """
    people = identity_gains(pairs)
    if len(pairs) < 2 or len(people) < 2 * FIFTHS:
        return []
    numbers = sorted(each.number for each in people)
    after, before = (
        np.array([_by_number([pair[side]] * 2, numbers) for pair in pairs]) for side in (0, 1)
    )
    others = (before.sum(0) - before) / (len(pairs) - 1)
    chosen = [np.array_split(np.argsort(row, kind="stable"), FIFTHS) for row in others]
    return [
        FifthGain(
            len(chosen[0][fifth]), *(_mean_of(side, chosen, fifth) for side in (before, after))
        )
        for fifth in range(FIFTHS)
    ]


def _by_number(pair: Sequence[Result], numbers: Sequence[int]) -> list[float]:
    """The mean AP of every identity in a result, in the order of ``numbers``."""
    found = {each.number: each.after for each in identity_gains([(pair[0], pair[1])])}
    return [found[number] for number in numbers]


def _mean_of(scores: np.ndarray, chosen: Sequence[Sequence[np.ndarray]], fifth: int) -> float:
    """The mean over seeds of the identities of a fifth, which differ from seed to seed."""
    return float(
        np.mean([row[parts[fifth]].mean() for row, parts in zip(scores, chosen, strict=True)])
    )


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
