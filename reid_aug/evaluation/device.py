"""The scores of :mod:`reid_aug.evaluation`, computed on the device that holds the distances.

Queries are ranked in blocks, so memory holds a sorted copy of one block beside the distance matrix.
Ranks are whole numbers, so the scores equal those of the CPU to the last bit.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from reid_aug.evaluation import DIVERGED, Matches, Scores, summary
from reid_aug.runtime.errors import UserError

RANKED_BYTES = 256  # queries


def evaluate_on_device(
    distances: Tensor,
    query_pids: ArrayLike,
    gallery_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery_camids: ArrayLike,
) -> Scores:
    """The scores of :func:`reid_aug.evaluation.evaluate` for distances (Q, G) on any device.

    Raises:
        UserError: If shapes disagree, a distance is NaN, or no query has a match.
    """
    matches = Matches(query_pids, gallery_pids, query_camids, gallery_camids)
    matches.check_shape(tuple(distances.shape))
    return summary(_ranks(distances, matches))


def _ranks(distances: Tensor, matches: Matches) -> Iterator[np.ndarray]:
    """Ranks of each query's matches, block by block."""
    largest = torch.finfo(distances.dtype).max  # infinity marks the padding
    for start in range(0, len(distances), RANKED_BYTES):
        block = distances[start : start + RANKED_BYTES].clamp(max=largest)
        pairs = [matches.of(start + row) for row in range(len(block))]
        matching, ignored = zip(*pairs, strict=True)
        ranks = _block_ranks(block, matching, ignored).cpu().numpy()
        yield from (row[: len(own)] for row, own in zip(ranks, matching, strict=True))


def _block_ranks(
    block: Tensor, matches: Sequence[np.ndarray], ignored: Sequence[np.ndarray]
) -> Tensor:
    """(B, M): the ranks of the matches, ascending; entries beyond a query's matches are void.

    A rank is the number of wrong images at most as far, plus the number of matches up to this one.
    """
    ordered = block.sort(1).values
    if ordered[:, -1].isnan().any():
        raise UserError(DIVERGED)
    hits = _sorted(block, matches)
    closer = torch.searchsorted(ordered, hits, right=True)
    closer -= torch.searchsorted(hits, hits, right=True)
    closer -= torch.searchsorted(_sorted(block, ignored), hits, right=True)
    return closer + torch.arange(1, hits.shape[1] + 1, device=block.device)


def _sorted(block: Tensor, chosen: Sequence[np.ndarray]) -> Tensor:
    """Distances of the chosen images per row, ascending, padded with infinity: (B, M)."""
    places = pad_sequence([torch.from_numpy(row) for row in chosen], True, -1).to(block.device)
    values = block.gather(1, places.clamp(min=0))
    return values.masked_fill(places < 0, torch.inf).sort(1).values
