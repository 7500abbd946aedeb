"""The losses of a re-ID training, which can treat generated images differently from real ones.

Smaller is better. Without generated images, or if generated images count like real ones, the
identity loss is torchreid's (cross-entropy with smoothed labels), and so is the triplet loss
(Hermans et al., arXiv:1703.07737: for each image its furthest positive and its nearest negative).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from reid_aug.stages.train_reid.settings import TrainReidConfig

SMOOTHING = 0.1  # the fraction of a smoothed label that is spread over all classes


def identity_loss(
    logits: Tensor, labels: Tensor, is_generated: Tensor, config: TrainReidConfig
) -> Tensor:
    """The weighted mean of the cross-entropies; each image has its own label policy and weight.

    Args:
        logits: (B, K).
        labels: (B,) classes in 0..K-1.
        is_generated: (B,) bool.
    """
    log_odds = F.log_softmax(logits, 1)
    right = -log_odds.gather(1, labels[:, None]).squeeze(1)
    uniform = -log_odds.mean(1)
    real = SMOOTHING if config.label_smooth else 0.0
    generated = {"hard": real, "smoothed": SMOOTHING, "uniform": 1.0}[config.generated_label]
    spread = torch.where(is_generated, generated, real)
    weight = torch.where(is_generated, config.generated_weight, 1.0)
    return (weight * torch.lerp(right, uniform, spread.to(right.dtype))).sum() / weight.sum()


def triplet_loss(features: Tensor, labels: Tensor, takes_part: Tensor, margin: float) -> Tensor:
    """Mean of max(0, furthest positive - nearest negative + margin) over the images that take part.

    Distances are Euclidean. An image without another positive is its own positive. An image without
    a negative is left out; if all images are, the loss is 0.

    Args:
        features: (B, D).
        labels: (B,).
        takes_part: (B,) bool; the others are neither anchors nor positives nor negatives.
    """
    squares = features.square().sum(1)
    distances = squares[:, None] + squares - 2 * features @ features.T
    distances = distances.clamp(min=1e-12).sqrt()
    is_same, both = labels[:, None] == labels, takes_part[:, None] & takes_part
    is_negative = both & ~is_same
    furthest = distances.masked_fill(~(both & is_same), -torch.inf).amax(1)
    nearest = distances.masked_fill(~is_negative, torch.inf).amin(1)
    hinge = F.relu(furthest - nearest + margin)[is_negative.any(1)]
    return hinge.sum() / max(1, len(hinge))
