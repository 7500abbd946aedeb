"""How good a ranking is: mAP, CMC and mINP under the Market-1501 protocol.

Conventions, settled once. A smaller distance is nearer. Gallery images of the query's own identity
under its own camera are ignored, junk (pid -1) too; distractors (pid 0) count as wrong. AP is the
step definition: the mean of the precision at each hit. Ties are broken against us, so a network
that maps every image to one point scores badly. A query without a match under another camera is
left out. All scores are fractions in [0, 1]; higher is better.

No permutation is ever built: the rank of the k-th hit is k plus the number of wrong images that are
at most as far, which a binary search in the sorted row tells.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from reid_aug.dataset import JUNK
from reid_aug.errors import UserError

RESULT_FORMAT = "reid_aug.result/1"  # of the result.json that holds these scores
MAX_RANK = 50


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Fractions in [0, 1].

    ``cmc`` is (50,): the part of the queries with a hit among the first 1, 2, ... images. ``ap`` is
    (Q,): the average precision of each query, NaN where a query has no match and is not counted.
    """

    mAP: float  # noqa: N815 (the field's spelling)
    cmc: np.ndarray
    mINP: float  # noqa: N815
    ap: np.ndarray


def evaluate(
    distances: np.ndarray,
    query_pids: ArrayLike,
    gallery_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery_camids: ArrayLike,
) -> Scores:
    """Score a ranking of the gallery for each query.

    Args:
        distances: (Q, G) float, smaller is nearer.
        query_pids: (Q,) integers; the other three likewise, (G,) for the gallery.
        gallery_pids: see above.
        query_camids: see above.
        gallery_camids: see above.

    Raises:
        UserError: If shapes disagree, a distance is NaN, or no query has a match.

    >>> distances = np.array([[0.1, 0.2, 0.3]])
    >>> scores = evaluate(distances, [7], [4, 7, 7], [1], [2, 2, 3])
    >>> float(scores.cmc[0]), float(scores.cmc[1]), round(scores.mAP, 4)
    (0.0, 1.0, 0.5833)
    """
    query_pids, gallery_pids, query_camids, gallery_camids = map(
        np.asarray, (query_pids, gallery_pids, query_camids, gallery_camids)
    )
    if distances.shape != (len(query_pids), len(gallery_pids)):
        wanted = (len(query_pids), len(gallery_pids))
        raise UserError(f"distances must have shape {wanted}, got {distances.shape}")
    for camids, pids in ((query_camids, query_pids), (gallery_camids, gallery_pids)):
        if camids.shape != pids.shape:
            raise UserError(f"camids must be one a pid, {pids.shape}, got {camids.shape}")
    order = np.argsort(gallery_pids, kind="stable")
    first = np.searchsorted(gallery_pids[order], query_pids, "left")
    last = np.searchsorted(gallery_pids[order], query_pids, "right")
    junk = np.flatnonzero(gallery_pids == JUNK)
    ap = np.full(len(query_pids), np.nan)
    inverse_penalty = np.full(len(query_pids), np.nan)
    first_hit = np.zeros(len(query_pids), np.int64)
    for query, row in enumerate(distances):
        same = order[first[query] : last[query]]
        elsewhere = gallery_camids[same] != query_camids[query]
        if query_pids[query] == JUNK or not elsewhere.any():
            continue
        ranks = _ranks(row, same[elsewhere], np.concatenate([same[~elsewhere], junk]))
        hits = np.arange(1, len(ranks) + 1)
        ap[query] = np.mean(hits / ranks)
        inverse_penalty[query] = len(ranks) / ranks[-1]
        first_hit[query] = ranks[0]
    return _summary(ap, inverse_penalty, first_hit)


def _ranks(row: np.ndarray, matches: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Rank (from 1) of each match in its order, every tie lost.

    Only wrong images push a match back: the number at most as far, less the matches and the ignored
    ones among them.
    """
    ordered = np.sort(row)
    if np.isnan(ordered[-1]):
        raise UserError("distances must be numbers, got NaN; the network has diverged")
    hits = np.sort(row[matches])
    closer = np.searchsorted(ordered, hits, "right")
    closer = closer - np.searchsorted(hits, hits, "right")
    closer = closer - np.searchsorted(np.sort(row[ignored]), hits, "right")
    return closer + np.arange(1, len(hits) + 1)


def _summary(ap: np.ndarray, inverse_penalty: np.ndarray, first_hit: np.ndarray) -> Scores:
    counted = first_hit > 0
    if not counted.any():
        raise UserError("no query has a match in the gallery under another camera")
    ranks = np.arange(1, MAX_RANK + 1)
    cmc = np.searchsorted(np.sort(first_hit[counted]), ranks, "right") / counted.sum()
    return Scores(float(ap[counted].mean()), cmc, float(inverse_penalty[counted].mean()), ap)
