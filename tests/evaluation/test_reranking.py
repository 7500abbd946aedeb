"""Re-ranking gives the distances that the published code gives."""

import warnings

import numpy as np
import pytest
import torch

from reid_aug.evaluation import reranking
from reid_aug.evaluation.reranking import RerankConfig, rerank
from reid_aug.runtime.errors import UserError


def people(seed: int, queries: int = 30, gallery: int = 170):
    """Features of people around 12 centres: (Q, 16) and (G, 16)."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(12, 16, generator=draw)
    pids = torch.randint(12, (queries + gallery,), generator=draw)
    features = centres[pids] + 0.7 * torch.randn(queries + gallery, 16, generator=draw)
    return features[:queries], features[queries:]


def published(query, gallery, k1, k2, own_weight):
    """torchreid's re-ranking, which squares the distances it is given."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Cython evaluation")
        from torchreid.reid.utils.rerank import re_ranking
    query, gallery = query.double(), gallery.double()
    pairs = (query, gallery), (query, query), (gallery, gallery)
    return re_ranking(*(torch.cdist(*pair).numpy() for pair in pairs), k1, k2, own_weight)


@pytest.mark.parametrize("numbers", [(20, 6, 0.3), (7, 1, 0.5), (5, 8, 0.0), (20, 6, 1.0)])
@pytest.mark.parametrize("seed", range(3))
def test_distances_are_those_of_the_published_code(seed, numbers, monkeypatch):
    monkeypatch.setattr(reranking, "RERANKED_ROWS", 64)
    monkeypatch.setattr(reranking, "PAIRS", 1000)
    query, gallery = people(seed)

    distances = rerank(query, gallery, RerankConfig(*numbers))

    assert distances.dtype == torch.float32
    np.testing.assert_allclose(distances, published(query, gallery, *numbers), atol=1e-5)


def test_the_order_of_the_gallery_does_not_matter():
    query, gallery = people(3)
    order = torch.randperm(len(gallery), generator=torch.Generator().manual_seed(0))

    np.testing.assert_allclose(
        rerank(query, gallery[order]), rerank(query, gallery)[:, order], atol=1e-5
    )


def test_fewer_images_than_neighbours_are_no_obstacle():
    query, gallery = people(4, queries=3, gallery=5)

    distances = rerank(query, gallery)

    assert distances.shape == (3, 5)
    assert distances.isfinite().all()


def test_equal_features_give_equal_distances():
    distances = rerank(torch.ones(4, 8), torch.ones(40, 8))

    assert distances.isfinite().all()
    assert (distances >= 0).all()


@pytest.mark.parametrize("numbers", [{"k1": 0}, {"k2": 0}, {"own_weight": 1.5}])
def test_numbers_that_cannot_be(numbers):
    with pytest.raises(UserError, match="must be"):
        RerankConfig(**numbers)
