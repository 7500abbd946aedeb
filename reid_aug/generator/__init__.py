"""PATN: repose a person in another pose (Zhu et al., CVPR 2019, arXiv:1904.03349).

Two streams of equal shape run side by side. The *image* stream carries what the person looks like;
the *pose* stream carries where the joints are and where they should go. In each block the pose
stream gates the image stream, then takes the new image in, so the person moves a little per block.

Where the paper's figure and the authors' code differ, this follows the code: no norm at the end of
a block's pose path, a mask per channel and pixel, and the raw pose code (not the mask) handed on.

Beyond the paper, a generator can be told cameras: which one took the image, and which one the
drawing is for. Each camera then has its own scale and shift of every channel behind every norm of
what reads the source (the camera is taken out) and of the decoder (the other is put in).

Also beyond it, a generator can be shown limbs: those of the source, cut out and moved to the target
pose. A third encoder reads them. What it finds joins the image's code before the first block, and
the decoder at every size. The decoder also says, for every pixel and colour, how much of the limbs
themselves to lay under its drawing. So stripes, prints and rare colours need not pass through the
narrow middle.

Shapes: B batch, K joints, H x W pixels, h x w after the encoder, C channels there (256 by default).

    config      what a generator is built from
    layers      encoder, block, decoder
    network     the generator, and pixels to tensors and back
    winograd    its convolutions on a CPU, sooner: to draw and to train
    limb_warp   the source's limbs, moved to the target pose
    inference   the network prepared for generating
    attention   the mask of every block, as a picture
    checkpoint  its file
    released    the authors' weights
    adversary   discriminators, losses, image pool
"""

from reid_aug.generator.checkpoint import load_generator, load_with_metadata, save_generator
from reid_aug.generator.config import GeneratorConfig, check_dropout, check_norm
from reid_aug.generator.inference import ready_to_generate
from reid_aug.generator.layers import CameraStyle, PoseAttention, conv3, encoder
from reid_aug.generator.network import Generator, initialise, to_pixels, to_signed
from reid_aug.generator.released import (
    first_convolution,
    import_checkpoint,
    import_official,
    load_official,
    released_norm,
)
from reid_aug.generator.winograd import ready_to_train

__all__ = [
    "CameraStyle",
    "Generator",
    "GeneratorConfig",
    "PoseAttention",
    "check_dropout",
    "check_norm",
    "conv3",
    "encoder",
    "first_convolution",
    "import_checkpoint",
    "import_official",
    "initialise",
    "load_generator",
    "load_official",
    "load_with_metadata",
    "ready_to_generate",
    "ready_to_train",
    "released_norm",
    "save_generator",
    "to_pixels",
    "to_signed",
]  # fmt: skip
