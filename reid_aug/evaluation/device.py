"""The same scores as :mod:`reid_aug.evaluation`, ranked on a GPU, where distances lie already.

Queries are ranked in blocks, so that what is held beside the distance matrix is a sorted copy of
one block. Counts are whole numbers, so the scores are those of the CPU to the last bit.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from reid_aug.evaluation import DIVERGED, Matches, Scores, summary
from reid_aug.runtime.errors import UserError

BLOCK = 256  # queries


def evaluate_on_device(
    distances: Tensor,
    query_pids: ArrayLike,
    gallery_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery_camids: ArrayLike,
) -> Scores:
    """As :func:`reid_aug.evaluation.evaluate`, of distances (Q, G) on any device.

    Raises:
        UserError: If shapes disagree, a distance is NaN, or no query has a match.
    """
    answers = Matches(query_pids, gallery_pids, query_camids, gallery_camids)
    answers.check_shape(tuple(distances.shape))
    return summary(_ranks(distances, answers))


def _ranks(distances: Tensor, answers: Matches) -> Iterator[np.ndarray]:
    """Ranks of each query's matches, block by block."""
    largest = torch.finfo(distances.dtype).max  # infinity is the padding's
    for start in range(0, len(distances), BLOCK):
        block = distances[start : start + BLOCK].clamp(max=largest)
        pairs = [answers.of(start + row) for row in range(len(block))]
        matches, ignored = zip(*pairs, strict=True)
        ranks = _block_ranks(block, matches, ignored).cpu().numpy()
        yield from (row[: len(own)] for row, own in zip(ranks, matches, strict=True))


def _block_ranks(
    block: Tensor, matches: Sequence[np.ndarray], ignored: Sequence[np.ndarray]
) -> Tensor:
    """(B, M): the rank of each match, ascending; what lies beyond a query's own matches is void.

    The number of wrong images at most as far, plus the number of matches up to this one.
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
    """Distances of some images a row, ascending, padded with infinity: (B, M)."""
    places = pad_sequence([torch.from_numpy(row) for row in chosen], True, -1).to(block.device)
    values = block.gather(1, places.clamp(min=0))
    return values.masked_fill(places < 0, torch.inf).sort(1).values
