"""What the generator is trained against: two discriminators, and the losses of PATN.

One discriminator rates *appearance* (is this the person of the condition image?), one rates
*pose* (is the person in the target pose?). Both are one class with different inputs, and both end
in a map of ``4 * width`` channels, not in one score: the loss is a mean over the whole map, as in
the authors' code. Logits come out; the sigmoid of the published network is in the loss (the same
number, and it survives low precision).

Losses, with the published weights: gan (5) averaged over the two discriminators, l1 (10) between
images in [-1, 1], perceptual (10) between relu1_2 features of VGG-19. The perceptual term needs VGG
weights from a path; without them it is off, and every log and checkpoint says so.

    discriminator  the network
    losses         its verdict as a loss, and the perceptual one
    pool           old drawings among the new ones
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
