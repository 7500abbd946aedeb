"""Re-ranking by k-reciprocal neighbours (Zhong et al., CVPR 2017, arXiv:1701.08398).

Two images that are among each other's nearest neighbours probably show the same person, the more so
if they share neighbours. Every image is described by its k-reciprocal neighbours, weighted by
distance and averaged over its few nearest. The result is a weighted mean of the Jaccard distance of
two descriptions and the distance of the features. No label is used, but all query and gallery
images are compared with each other: a separate protocol, which a table must name.

Q queries and G gallery images are N images in total. Descriptions are sparse, and N x N distances
are computed block by block, so no matrix of that size is held beside the (Q, G) result.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from reid_aug.evaluation.features import distance_matrix
from reid_aug.runtime.errors import UserError, require_at_least

RERANKED_ROWS = 256  # images whose distances to all others are computed at once
PAIRS = 8192  # pairs whose features are compared at once


@dataclass(frozen=True, slots=True)
class RerankConfig:
    """The parameters of re-ranking; the defaults are those of the paper for Market-1501."""

    k1: int = 20
    """Nearest neighbours that are tested for reciprocity, 1 or more."""
    k2: int = 6
    """Nearest neighbours over which a description is averaged, 1 or more."""
    own_weight: float = 0.3
    """Weight of the distance of the features in the result, in [0, 1]; the paper's lambda."""

    def __post_init__(self) -> None:
        require_at_least(self, 1, "k1", "k2")
        if not 0 <= self.own_weight <= 1:
            raise UserError(f"own_weight must be in 0..1, got {self.own_weight}")


@torch.inference_mode()
def rerank(query: Tensor, gallery: Tensor, config: RerankConfig = RerankConfig()) -> Tensor:
    """Distances after re-ranking, (Q, G) float32 in [0, 1] on the CPU, of (Q, D) and (G, D).

    Features may be on any device; the distances of all pairs are computed there.
    """
    features = torch.cat([query, gallery])
    nearest, farthest = _neighbours(features, max(config.k1 + 1, config.k2))
    described = _descriptions(features, nearest, farthest, config.k1)
    few = _near(nearest[:, : config.k2])
    described = few @ described / config.k2
    distances = distance_matrix(query, gallery).clamp_(min=0).cpu()
    distances /= farthest[: len(query), None]
    apart = torch.from_numpy(_jaccard(described.tocsr(), len(query)))
    return apart.lerp_(distances, config.own_weight)


def _neighbours(features: Tensor, count: int) -> tuple[np.ndarray, Tensor]:
    """(N, count) nearest of each image, itself first, and (N,) the largest squared distance."""
    count = min(count, len(features))
    nearest, farthest = [], []
    for start in range(0, len(features), RERANKED_ROWS):
        block = features[start : start + RERANKED_ROWS]
        distances = distance_matrix(block, features)
        distances.diagonal(start).fill_(-torch.inf)
        nearest.append(distances.topk(count, largest=False).indices.cpu())
        farthest.append(distances.amax(1).cpu())
    tiny = torch.finfo(torch.float32).tiny  # all features may be equal
    return torch.cat(nearest).numpy(), torch.cat(farthest).clamp(min=tiny)


def _near(nearest: np.ndarray) -> sparse.csr_matrix:
    """(N, N): 1 where the column is among the nearest of the row."""
    images, count = nearest.shape
    ends = np.arange(0, images * count + 1, count)
    ones = np.ones(images * count, np.float32)
    return sparse.csr_matrix((ones, nearest.ravel(), ends), (images, images))


def _reciprocal(nearest: np.ndarray) -> sparse.csr_matrix:
    """(N, N): 1 where two images are among each other's nearest."""
    near = _near(nearest)
    return near.multiply(near.T).tocsr()


def _descriptions(
    features: Tensor, nearest: np.ndarray, farthest: Tensor, k1: int
) -> sparse.csr_matrix:
    """(N, N) rows of weights that add up to 1, over the k-reciprocal neighbours of each image.

    The reciprocal neighbours of a neighbour, for half of k1, are added if more than two thirds of
    them are shared.
    """
    own, half = _reciprocal(nearest[:, : k1 + 1]), _reciprocal(nearest[:, : round(k1 / 2) + 1])
    shared = (own @ half.T).multiply(own).tocoo()
    sizes = np.asarray(half.sum(1)).ravel()
    brings = 3 * shared.data > 2 * sizes[shared.col]
    ones = np.ones(brings.sum(), np.float32)
    bringing = sparse.csr_matrix((ones, (shared.row[brings], shared.col[brings])), own.shape)
    rows, columns = (own + bringing @ half).nonzero()
    weights = np.exp(-_distances(features, rows, columns) / farthest.numpy()[rows])
    described = sparse.csr_matrix((weights, (rows, columns)), own.shape)
    sums = np.asarray(described.sum(1)).ravel()
    return sparse.diags(1 / sums) @ described


def _distances(features: Tensor, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances of pairs: (P,) float32."""
    pairs = torch.from_numpy(np.stack([rows, columns]).astype(np.int64)).to(features.device)
    parts = [(features[a] - features[b]).square().sum(1).cpu() for a, b in pairs.split(PAIRS, 1)]
    return torch.cat(parts).numpy()


def _jaccard(described: sparse.csr_matrix, queries: int) -> np.ndarray:
    """Jaccard distances of the first ``queries`` rows to the others: (Q, G) float32.

    Rows add up to 1, so the shared part of two rows determines their union.
    """
    columns, images = described.tocsc(), described.shape[0]
    apart = np.empty((queries, images - queries), np.float32)
    for query in range(queries):
        own = described[[query]]
        others = columns[:, own.indices]
        least = np.minimum(others.data, np.repeat(own.data, np.diff(others.indptr)))
        shared = np.bincount(others.indices, least, images)[queries:]
        apart[query] = 1 - shared / (2 - shared)
    return apart
