"""Features and distances: every image once, in order, and the right numbers between them."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from reid_aug.data.dataset import open_image, read_market1501
from reid_aug.evaluation.features import (
    check_memory,
    distance_matrix,
    evaluate_model,
    extract_features,
)
from reid_aug.runtime import machine
from reid_aug.runtime.errors import UserError

CPU = torch.device("cpu")


def to_tensor(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float()


class MeanColour(nn.Module):
    def forward(self, image):
        return image.mean((2, 3))


def test_features_are_those_of_the_images_in_order(people):
    images = read_market1501(people).gallery
    features = extract_features(MeanColour(), images, to_tensor, CPU)
    wanted = np.stack([open_image(image.path).mean((0, 1)) for image in images])
    assert np.allclose(features.numpy(), wanted, atol=1e-3)


def test_workers_change_nothing(people):
    images = read_market1501(people).query
    without_workers = extract_features(MeanColour(), images, to_tensor, CPU)
    assert torch.equal(
        without_workers, extract_features(MeanColour(), images, to_tensor, CPU, workers=1)
    )


def test_distances_are_squared_euclidean():
    query, gallery = torch.randn(5, 7), torch.randn(9, 7)
    wanted = ((query[:, None] - gallery[None]) ** 2).sum(2)
    assert np.allclose(distance_matrix(query, gallery), wanted.numpy(), atol=1e-5)


def test_a_network_that_separates_all_identities_scores_one(people):
    dataset = read_market1501(people)
    pids = {open_image(i.path).tobytes(): i.pid for i in (*dataset.query, *dataset.gallery)}

    def oracle(image):
        return torch.tensor([float(pids[np.asarray(image).tobytes()])])

    scores = evaluate_model(nn.Identity(), dataset, oracle, CPU)
    assert scores.mAP == 1
    assert scores.cmc[0] == 1


@pytest.mark.parametrize(
    ("matrices", "with_rerank", "is_right"),
    [(1, False, True), (0.9, False, False), (2, True, True), (1.9, True, False)],
)
def test_distances_that_the_memory_cannot_hold_are_refused(
    people, monkeypatch, matrices, with_rerank, is_right
):
    dataset = read_market1501(people)
    needed = 4 * len(dataset.query) * len(dataset.gallery)
    monkeypatch.setattr(machine, "memory_limit", lambda: int(matrices * needed))
    words = "re-ranked, need" if with_rerank else f"gallery images need {needed} bytes"

    with contextlib.nullcontext() if is_right else pytest.raises(UserError, match=words):
        check_memory(dataset, CPU, with_rerank)
