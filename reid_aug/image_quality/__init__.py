"""How good generated images are, by the field's measures and under two protocols.

Numbers for one method differ between papers because the tools differ, not the images. So each
number here names its protocol:

    patn   as the published tools do it: pixels truncated, not rounded; images cut from a sheet
           that went through JPEG at quality 75, the real target too; those of DeepFashion, 256x176,
           with 40 white columns on each side for SSIM, IS and DS; SSIM's range that of each
           generated image; mask-SSIM over the whole frame, most of which is black in both; PCKh
           with one threshold an axis and the neck in the head's box; Inception Score over ten parts
           in file order
    clean  the images as they are, rounded; SSIM's range 255; mask-SSIM over the mask; PCKh by
           distance, and Inception Score over ten parts in random order

    protocols    what of a pair is looked at: a View for each protocol, and DeepFashion's border
    masks        the person's region, from limbs
    structure    SSIM, mask-SSIM, L1 (scikit-image's SSIM)
    pckh         joints found again in the drawing
    metrics      the measures, each over all pairs
    networks     what needs weights: IS, mask-IS, FID (torch-fidelity), LPIPS (torchmetrics), DS (a
                 detector's score for a person), identity (a re-ID network's)
    generated_images
                 where the images come from: a generator, or a folder

Two measures are not comparable with the paper's numbers under either: PCKh asks another pose
estimator than its, DS another detector.

A measure whose weights are missing is listed as not measured, with the file that it needs.
"""

from reid_aug.image_quality.masks import limb_mask
from reid_aug.image_quality.metrics import MEASURES, METRICS, Metric
from reid_aug.image_quality.pckh import correct_joints
from reid_aug.image_quality.protocols import PROTOCOLS, View, cut, views
from reid_aug.image_quality.structure import mask_ssim, mean_difference, ssim

__all__ = [
    "MEASURES",
    "METRICS",
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
