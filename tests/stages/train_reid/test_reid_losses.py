"""Losses against torchreid's and torch's, and what a generated image may do in them."""

import pytest
import torch
from torch.nn import functional as F

from reid_aug.backbones import torchreid_library
from reid_aug.stages.train_reid.losses import identity_loss, triplet_loss
from reid_aug.stages.train_reid.settings import TrainReidConfig

CLASSES = 7
REAL = torch.zeros(12, dtype=torch.bool)
HALF = torch.arange(12) % 2 == 1


@pytest.fixture
def logits():
    return torch.randn(12, CLASSES, generator=torch.Generator().manual_seed(0)).double()


@pytest.fixture
def labels():
    return torch.randint(0, CLASSES, (12,), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("generated", [REAL, HALF], ids=["real", "mixed"])
def test_a_plain_identity_loss_is_torchreid_s(logits, labels, smooth, generated):
    theirs = torchreid_library().losses.CrossEntropyLoss(
        CLASSES, use_gpu=False, label_smooth=smooth
    )

    ours = identity_loss(logits, labels, generated, TrainReidConfig(label_smooth=smooth))

    torch.testing.assert_close(ours, theirs(logits.float(), labels).double(), rtol=1e-5, atol=0)
    mine = F.cross_entropy(logits, labels, label_smoothing=0.1 * smooth)
    torch.testing.assert_close(ours, mine)


def test_smoothed_labels_are_for_generated_images_alone(logits, labels):
    config = TrainReidConfig(label_smooth=False, generated_label="smoothed")

    ours = identity_loss(logits, labels, HALF, config)

    each = [
        F.cross_entropy(logits[i], labels[i], label_smoothing=0.1 * HALF[i].item())
        for i in range(12)
    ]
    torch.testing.assert_close(ours, torch.stack(each).mean())


def test_a_uniform_label_is_the_loss_of_lsro(logits, labels):
    config = TrainReidConfig(label_smooth=False, generated_label="uniform")

    ours = identity_loss(logits, labels, ~REAL, config)

    torch.testing.assert_close(ours, -F.log_softmax(logits, 1).mean())
    torch.testing.assert_close(ours, identity_loss(logits, labels.roll(1), ~REAL, config))


def test_a_generated_image_counts_what_its_weight_says(logits, labels):
    config = TrainReidConfig(label_smooth=False, generated_weight=0.25)

    ours = identity_loss(logits, labels, HALF, config)

    each = F.cross_entropy(logits, labels, reduction="none")
    weights = torch.where(HALF, 0.25, 1.0).double()
    torch.testing.assert_close(ours, (weights * each).sum() / weights.sum())


def features(people, images, size=6, seed=2):
    return torch.randn(people * images, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("margin", [0.0, 0.3, 5.0])
def test_the_triplet_loss_is_torchreid_s(margin):
    labels = torch.arange(4).repeat_interleave(3)
    ours, theirs = (features(4, 3).requires_grad_() for _ in range(2))

    mine = triplet_loss(ours, labels, ~REAL, margin)
    expected = torchreid_library().losses.TripletLoss(margin)(theirs, labels)

    torch.testing.assert_close(mine, expected)
    mine.backward(), expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_images_that_take_no_part_are_as_if_they_were_not_there():
    labels, given = torch.arange(4).repeat_interleave(3), features(4, 3).requires_grad_()

    loss = triplet_loss(given, labels, ~HALF, 0.3)

    torch.testing.assert_close(loss, triplet_loss(given[~HALF], labels[~HALF], ~REAL[:6], 0.3))
    loss.backward()
    assert not given.grad[HALF].any()
    assert given.grad[~HALF].any()


@pytest.mark.parametrize("part", [REAL, ~REAL], ids=["nobody", "one person"])
def test_without_negatives_there_is_nothing_to_learn_and_nothing_breaks(part):
    given = features(1, 12).requires_grad_()

    loss = triplet_loss(given, torch.zeros(12, dtype=torch.int64), part, 0.3)

    assert loss.item() == 0
    loss.backward()
    assert not given.grad.any()
