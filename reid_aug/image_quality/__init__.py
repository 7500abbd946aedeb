"""The quality of generated images, by the field's metrics and under two protocols.

Published numbers of one method differ between papers because the tools differ, not the images.
Every number here therefore names its protocol:

    patn   as the published tools compute it. Pixels are truncated, not rounded. Images, the real
           target included, are cut from a sheet that was saved as JPEG of quality 75. For SSIM, IS
           and DS, images of DeepFashion (256x176) get 40 white columns on each side. The data range
           of SSIM is that of each generated image. Mask-SSIM is the mean over the whole frame, most
           of which is black in both images. PCKh has one threshold per axis, and the box of the
           head includes the neck. The Inception Score is computed over ten parts in file order.
    clean  the images unchanged and rounded. The data range of SSIM is 255. Mask-SSIM is the mean
           over the mask. PCKh uses the distance. The Inception Score is computed over ten parts in
           random order.

    declarations      the list of the metrics and of the options of their weights
    protocols         the images of a pair under each protocol (View), and DeepFashion's border
    masks             the region of the person, from the limbs
    structure         SSIM, mask-SSIM, L1 (SSIM by scikit-image)
    pckh              the joints that are found again in the generated image
    metrics           the metrics, each over all pairs
    networks          the networks behind IS, mask-IS, FID (torch-fidelity), LPIPS (torchmetrics),
                      DS (confidence of a person detector) and identity (a re-ID network)
    generated_images  the source of the images: a generator, or a folder

Two metrics are not comparable with the numbers of the paper under either protocol: PCKh uses
another pose estimator, and DS another detector.

A metric whose weights are missing is listed as not measured, with the file that it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reid_aug.image_quality.masks import limb_mask
    from reid_aug.image_quality.metrics import Metric
    from reid_aug.image_quality.pckh import correct_joints
    from reid_aug.image_quality.protocols import PROTOCOLS, View, cut, views
    from reid_aug.image_quality.structure import mask_ssim, mean_difference, ssim

__all__ = [
    "PROTOCOLS",
    "Metric",
    "View",
    "correct_joints",
    "cut",
    "limb_mask",
    "mask_ssim",
    "mean_difference",
    "ssim",
    "views",
]  # fmt: skip

_MODULES = {
    "masks": ("limb_mask",),
    "metrics": ("Metric",),
    "pckh": ("correct_joints",),
    "protocols": ("PROTOCOLS", "View", "cut", "views"),
    "structure": ("mask_ssim", "mean_difference", "ssim"),
}


def __getattr__(name: str) -> Any:
    """Import a name when it is used, so that the declarations load without torch."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
