"""Plain training equals torchreid's: its data set, transforms, optimiser and engine."""

import pytest
import torch

from benchmarks import stock_torchreid
from reid_aug.data.dataset import read_market1501
from reid_aug.mixing import Mix
from reid_aug.stages.train_reid import transforms_of
from reid_aug.stages.train_reid.batches import Training
from reid_aug.stages.train_reid.settings import TrainReidConfig

SETTINGS = {"backbone": "resnet18", "batch": 4, "height": 64, "width": 32}


@pytest.mark.slow
@pytest.mark.parametrize(("changed", "is_equal"), [({}, True), ({"beta2": 0.99}, False)])
def test_fifty_steps_give_the_losses_of_stock_torchreid(people, monkeypatch, changed, is_equal):
    config = TrainReidConfig(steps=50, **SETTINGS, **changed)
    training = Training(Mix(read_market1501(people).train), transforms_of(config)[0], 0)

    apart = stock_torchreid.compare_losses(training, config, torch.device("cpu"))

    assert torch.get_default_dtype() == torch.float32
    assert (apart < 1e-9) == is_equal
