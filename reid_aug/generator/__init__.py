"""PATN pose transfer: generate a person in another pose (Zhu et al., CVPR 2019, arXiv:1904.03349).

Two streams of equal shape run side by side. The *image* stream carries the person's appearance; the
*pose* stream carries the joints of the source and target poses. In each block the pose stream gates
the change of the image stream and then takes in its output, so each block moves the person a
little.

Where the paper's figure and the authors' code differ, this network follows the code: there is no
norm at the end of a block's pose path, each channel and pixel has its own mask, and the block
passes on the raw pose code, not the mask.

Beyond the paper, a generator can be camera-conditioned: its inputs are then also the camera of the
source image and the camera of the generated image. Each camera has its own scale and shift per
channel after every norm of the encoders that read the source (they remove the camera) and of the
decoder (they add the other camera).

Also beyond the paper, a generator can be limb-conditioned: its inputs are then also the limbs of
the source, cut out and moved to the target pose. A third encoder reads them. Its codes are added to
the image code before the first block, and to the decoder at every size. The decoder also returns
a weight per pixel and colour, by which the limbs are added to its output. Stripes, prints and rare
colours thus bypass the bottleneck.

Shapes: B batch, K joints, H x W pixels, h x w after the encoder, C channels there (256 in the
paper's network).

    config      the hyperparameters of a network
    interface   the abstract class that every generator network implements
    layers      encoder, block, decoder
    network     the PATN generator; conversion between pixels and tensors
    winograd    faster convolutions on a CPU, for inference and training
    limb_warp   the source's limbs, moved to the target pose
    inference   a network prepared for inference; images from arrays
    attention   the mask of every block, as an image
    checkpoint  the checkpoint file, and which class reads it
    released    the authors' weights
    adversary   discriminators, losses, image pool
"""

from reid_aug.generator.checkpoint import (
    DEMO,
    DEMO_ORIGIN,
    demo_generator,
    load_generator,
    load_with_metadata,
    save_generator,
    untrained_generator,
)
from reid_aug.generator.config import GeneratorConfig, check_dropout, check_norm
from reid_aug.generator.inference import generate, ready_to_generate
from reid_aug.generator.interface import GeneratorNetwork
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
    "DEMO",
    "DEMO_ORIGIN",
    "CameraStyle",
    "Generator",
    "GeneratorConfig",
    "GeneratorNetwork",
    "PoseAttention",
    "check_dropout",
    "check_norm",
    "conv3",
    "demo_generator",
    "encoder",
    "first_convolution",
    "generate",
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
    "untrained_generator",
]  # fmt: skip
