"""Ranking in torch gives the scores that ranking in numpy gives."""

import numpy as np
import pytest
import torch

from reid_aug.evaluation import device as device_evaluation
from reid_aug.evaluation import evaluate
from reid_aug.evaluation.device import evaluate_on_device
from reid_aug.runtime.errors import UserError
from tests.evaluation.test_evaluation import assert_same, scene


@pytest.mark.parametrize("seed", range(8))
def test_scores_are_those_of_the_cpu_with_and_without_ties(seed, monkeypatch):
    monkeypatch.setattr(device_evaluation, "RANKED_BYTES", 7)
    distances, *columns = scene(seed, queries=30)
    if seed % 2:
        distances = np.round(distances / 16)

    assert_same(
        evaluate_on_device(torch.from_numpy(distances), *columns), evaluate(distances, *columns)
    )


def test_a_distance_without_end_is_the_farthest():
    distances, *columns = scene(0)
    distances[distances > np.quantile(distances, 0.8)] = np.inf

    assert_same(
        evaluate_on_device(torch.from_numpy(distances), *columns), evaluate(distances, *columns)
    )


def test_what_cannot_be_ranked_is_refused():
    distances, *columns = scene(0)

    with pytest.raises(UserError, match="must have shape"):
        evaluate_on_device(torch.from_numpy(distances[1:]), *columns)
    distances[3, 5] = np.nan
    with pytest.raises(UserError, match="NaN"):
        evaluate_on_device(torch.from_numpy(distances), *columns)
    with pytest.raises(UserError, match="no query has a match"):
        evaluate_on_device(torch.ones(1, 2), [1], [1, 2], [1], [1, 2])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_scores_on_a_gpu_are_those_of_the_cpu():
    distances, *columns = scene(1, queries=600, gallery=3000)
    on_gpu = torch.from_numpy(distances.astype(np.float32)).cuda()

    assert_same(evaluate_on_device(on_gpu, *columns), evaluate(on_gpu.cpu().numpy(), *columns))
