"""The adversarial training of PATN: two discriminators, and the losses.

The *appearance* discriminator classifies whether an image is a real one of the person in the
condition image; the *pose* discriminator, whether it is a real one in the target pose. Both are
instances of one class with different inputs. Both return a map of ``4 * width`` channels, not one
score, and the loss is the mean over the whole map, as in the authors' code. The outputs are logits;
the sigmoid of the published network is part of the loss (the value is the same, and stable in low
precision).

Losses, with the published weights: gan (5) averaged over the two discriminators, l1 (10) between
images in [-1, 1], perceptual (10) between relu1_2 features of VGG-19. The perceptual loss needs VGG
weights from a path; without them it is off, which every log and checkpoint records.

    discriminator  the network
    losses         the adversarial loss and the perceptual loss
    pool           a pool of earlier generated images
    checkpoint     the file of a discriminator
    released       the authors' weights
"""

from reid_aug.generator.adversary.checkpoint import read_discriminator, save_discriminator
from reid_aug.generator.adversary.discriminator import Discriminator, initialise_discriminator
from reid_aug.generator.adversary.losses import GAN_LOSSES, Perceptual, gan_loss
from reid_aug.generator.adversary.pool import ImagePool
from reid_aug.generator.adversary.released import (
    import_discriminator_checkpoint,
    import_official_discriminator,
)

__all__ = [
    "GAN_LOSSES", "Discriminator", "ImagePool", "Perceptual", "gan_loss",
    "import_discriminator_checkpoint", "import_official_discriminator", "initialise_discriminator",
    "read_discriminator", "save_discriminator",
]  # fmt: skip
