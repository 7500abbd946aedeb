"""A generator outside reid-aug: flow matching, conditioned on pose, image and moved limbs.

Flow matching (Lipman et al., ICLR 2023) follows the straight path from noise to an image in a few
steps. The network is trained to predict the end of the path from any of its points. Here it also
sees the source image, its limbs moved to the target pose (:mod:`reid_aug.generator.limb_warp`), the
heatmaps of the target pose, and both cameras.

- network: the U-Net, and :class:`FlowGenerator`, which reid-aug loads by the tag of a checkpoint
- training: one training on the pairs of a data set (``python -m flow_generator``)
"""

from flow_generator.network import FlowConfig, FlowGenerator

__all__ = ["FlowConfig", "FlowGenerator"]
