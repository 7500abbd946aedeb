"""Scores of a ranking: mAP, CMC and mINP under the Market-1501 protocol.

Conventions. A smaller distance is nearer. Gallery images of the query's own identity under its own
camera are ignored, and so is junk (pid -1). Distractors (pid 0) count as wrong. AP is the step
definition: the mean of the precision at each hit. Ties are counted as misses before hits, so a
network that maps every image to one point gets low scores. A query without a match under another
camera is left out. All scores are fractions in [0, 1]; higher is better.

No permutation is built. The rank of the k-th hit is k plus the number of wrong images that are at
most as far, which is a binary search in the sorted row. Only the part of a row up to the distance
of the last hit is sorted.

    features         from a network to distances and scores
    device           the same scores on a GPU
    reranking        k-reciprocal neighbours
    centralisation   features averaged with those of generated images
    ranked_lists     pictures of the nearest gallery images
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from reid_aug.data.dataset import JUNK
from reid_aug.runtime.errors import UserError

RESULT_FORMAT = "reid_aug.result/1"  # of the result.json that holds these scores
MAX_RANK = 50
AP_DEFINITION = "step (mean precision at the hits), ties pessimistic"
PROTOCOL = "same pid and camera ignored, pid -1 dropped, pid 0 kept as distractor"
PROTOCOL_WITHOUT_CAMERAS = (
    "no camera labels: nothing ignored but the query itself, pid -1 dropped, pid 0 kept as "
    "distractor"
)
NO_MATCH = "no query has a match in the gallery under another camera"
DIVERGED = "distances must be numbers, got NaN; the network has diverged"


def protocol(has_cameras: bool) -> str:
    """Which gallery images are ignored, in words."""
    return PROTOCOL if has_cameras else PROTOCOL_WITHOUT_CAMERAS


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Fractions in [0, 1]; higher is better."""

    mAP: float  # noqa: N815 (the field's spelling)
    """Mean of ``ap`` over the queries that count."""
    cmc: np.ndarray
    """(50,): the part of the queries with a hit among the first 1, 2, ... images."""
    mINP: float  # noqa: N815
    """Mean, over the queries that count, of the number of matches per rank of the last one."""
    ap: np.ndarray
    """(Q,): average precision of each query; NaN for a query without a match, which does not
    count."""

    def fields(self, queries: Sequence[str]) -> dict[str, Any]:
        """The scores in the form of a result file; ``queries`` are file names, (Q,)."""
        ranks = {f"rank{rank}": float(self.cmc[rank - 1]) for rank in (1, 5, 10, 20)}
        per_query = zip(queries, self.ap.tolist(), strict=True)
        return {
            "mAP": self.mAP,
            **ranks,
            "mINP": self.mINP,
            "queries": int(np.isfinite(self.ap).sum()),
            "ap": {name: None if np.isnan(ap) else round(ap, 6) for name, ap in per_query},
        }


def evaluate(
    distances: np.ndarray,
    query_pids: ArrayLike,
    gallery_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery_camids: ArrayLike,
) -> Scores:
    """The scores of the ranking of the gallery for each query.

    Args:
        distances: (Q, G) float, smaller is nearer.
        query_pids: (Q,) integers; the other three likewise, (G,) for the gallery.
        gallery_pids: see above.
        query_camids: see above.
        gallery_camids: see above.

    Raises:
        UserError: If shapes disagree, a distance is NaN, or no query has a match.

    On a GPU: :func:`reid_aug.evaluation.device.evaluate_on_device`.

    >>> distances = np.array([[0.1, 0.2, 0.3]])
    >>> scores = evaluate(distances, [7], [4, 7, 7], [1], [2, 2, 3])
    >>> float(scores.cmc[0]), float(scores.cmc[1]), round(scores.mAP, 4)
    (0.0, 1.0, 0.5833)
    """
    matches = Matches(query_pids, gallery_pids, query_camids, gallery_camids)
    matches.check_shape(distances.shape)
    return summary(_ranks(row, *matches.of(query)) for query, row in enumerate(distances))


class Matches:
    """The gallery images that match each query, and those that are ignored.

    Args:
        query_pids: (Q,) integers; the other three likewise, (G,) for the gallery.
        gallery_pids: see above.
        query_camids: see above.
        gallery_camids: see above.

    Raises:
        UserError: If shapes disagree.
    """

    def __init__(
        self,
        query_pids: ArrayLike,
        gallery_pids: ArrayLike,
        query_camids: ArrayLike,
        gallery_camids: ArrayLike,
    ) -> None:
        self.query_pids, self.query_camids = np.asarray(query_pids), np.asarray(query_camids)
        self.gallery_camids, pids = np.asarray(gallery_camids), np.asarray(gallery_pids)
        self.size = len(self.query_pids), len(pids)
        columns = (self.query_camids, self.query_pids), (self.gallery_camids, pids)
        for camids, own in columns:
            if camids.shape != own.shape:
                raise UserError(f"camids must be one per pid, {own.shape}, got {camids.shape}")
        self._order = np.argsort(pids, kind="stable")
        self._first = np.searchsorted(pids[self._order], self.query_pids, "left")
        self._last = np.searchsorted(pids[self._order], self.query_pids, "right")
        self._junk = np.flatnonzero(pids == JUNK)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise a UserError unless ``shape`` is that of the distance matrix, (Q, G)."""
        if shape != self.size:
            raise UserError(f"distances must have shape {self.size}, got {tuple(shape)}")

    def count(self) -> int:
        """The number of queries with a match."""
        return sum(len(self.of(query)[0]) > 0 for query in range(self.size[0]))

    def of(self, query: int) -> tuple[np.ndarray, np.ndarray]:
        """Places in the gallery of a query's matches (none for junk) and of the ignored images."""
        same = self._order[self._first[query] : self._last[query]]
        elsewhere = self.gallery_camids[same] != self.query_camids[query]
        if self.query_pids[query] == JUNK:
            elsewhere[:] = False
        return same[elsewhere], np.concatenate([same[~elsewhere], self._junk])


def _ranks(row: np.ndarray, matches: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Ranks (from 1) of the matches in ascending order; in a tie, misses come first.

    The rank of a match grows by the number of wrong images that are at most as far: all images at
    most as far, less the matches and the ignored images among them.
    """
    if not len(matches):
        return matches
    if np.isnan(row.min()):
        raise UserError(DIVERGED)
    hits = np.sort(row[matches])
    ordered = np.sort(row[row <= hits[-1]])  # farther images have no effect
    closer = np.searchsorted(ordered, hits, "right")
    closer = closer - np.searchsorted(hits, hits, "right")
    closer = closer - np.searchsorted(np.sort(row[ignored]), hits, "right")
    return closer + np.arange(1, len(hits) + 1)


def summary(ranks: Iterable[np.ndarray]) -> Scores:
    """The scores for the ranks of each query's matches: (M,) ascending, from 1; M may be 0.

    Raises:
        UserError: If no query has a match.
    """
    rows = list(ranks)
    counted = np.array([len(row) > 0 for row in rows], bool)
    if not counted.any():
        raise UserError(NO_MATCH)
    found = [row for row in rows if len(row)]
    ap = np.full(len(rows), np.nan)
    ap[counted] = [np.mean(np.arange(1, len(row) + 1) / row) for row in found]
    first_hit = np.sort([row[0] for row in found])
    cmc = np.searchsorted(first_hit, np.arange(1, MAX_RANK + 1), "right") / len(found)
    inverse_penalty = np.mean([len(row) / row[-1] for row in found])
    return Scores(float(ap[counted].mean()), cmc, float(inverse_penalty), ap)
