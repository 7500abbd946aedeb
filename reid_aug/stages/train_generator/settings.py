"""The settings of a generator training: the recipe's table ``[train_generator]``.

The defaults are the published Market-1501 training. Everything beyond the paper is off by default.
"""

import math
from dataclasses import dataclass

from reid_aug.generator.adversary import GAN_LOSSES
from reid_aug.generator.config import LARGEST_SETTINGS
from reid_aug.runtime.errors import UserError, require_at_least, require_at_most
from reid_aug.stages.train_generator.pairs import PAIR_CAMERAS, WEIGHTINGS


@dataclass(frozen=True, slots=True)
class TrainGeneratorConfig:
    """Schedule, losses, pairs and precision of a training."""

    steps: int = 87_500
    """Number of training steps."""
    batch: int = 32
    """Pairs per step, of all processes together."""
    lr: float = 2e-4
    """Learning rate of Adam before it falls."""
    decay: float = 200 / 700
    """The last fraction of the steps, over which the learning rate falls to 0, in [0, 1]. The
    published value is 200 of 700 "epochs" of 125 steps."""
    lr_every: int = 125
    """Steps between changes of the learning rate."""
    gan: str = "bce"
    """Adversarial loss: "bce" (Market-1501) or "lsgan" (DeepFashion)."""
    gan_weight: float = 5.0
    """Weight of the adversarial loss; the two discriminators share it."""
    l1_weight: float = 10.0
    """Weight of the L1 loss."""
    perceptual_weight: float = 10.0
    """Weight of the perceptual loss."""
    vgg: str = ""
    """Path of torchvision's VGG-19 weights; "" turns the perceptual loss off."""
    pool: int = 50
    """Images in the pool of older generated images of each discriminator; 0 turns it off."""
    cameras: str = "any"
    """The two images of a pair: "any" two of an identity (published), or two of the "same" camera.
    With "same", a generated image has the appearance of its source's camera instead of the mean of
    all cameras."""
    pairs: str = "all"
    """How pairs are drawn: "all" with equal probability (published), or "balanced", every identity
    with equal probability."""
    held_out: int = 0
    """Number of identities that are left out of the training and used for validation."""
    discriminator_width: int = 64
    """Channels of the first layer of a discriminator."""
    discriminator_blocks: int = 3
    """Residual blocks of a discriminator."""
    flip: bool = False
    """Mirror half of the pairs, with left and right joints swapped."""
    ema: float = 0.0
    """Decay of the moving average of the generator's weights, in [0, 1); 0 turns it off."""
    discriminator_start: float = 0.0
    """The first fraction of the steps, in which the discriminators are neither used nor trained,
    in [0, 1]."""
    identity_model: str = ""
    """Path of the ``model.safetensors`` of a re-ID network; "" turns the identity loss off."""
    identity_weight: float = 1.0
    """Weight of the identity loss."""
    start: str = ""
    """The generator that the training starts from: a path, or "demo" for that of the package.

    "" means random weights.
    """
    start_appearance: str = ""
    """Path of the appearance discriminator that the training starts from; "" means random."""
    start_pose: str = ""
    """Path of the pose discriminator that the training starts from; "" means random."""
    bf16: bool = False
    """Compute in bfloat16 where that is safe."""
    compile: bool = False
    """Compile the networks with torch.compile."""
    sync_batch_norm: bool = False
    """Compute batch norm over the batch of all processes of torchrun, not of each one."""
    save_every: int = 2_500
    """Steps between training states."""
    tensorboard: bool = False
    """Write the losses for TensorBoard too."""

    def __post_init__(self) -> None:
        whole = ("steps", "batch", "lr_every", "save_every", "discriminator_width")
        require_at_least(self, 1, *whole)
        require_at_least(self, 0, "discriminator_blocks")
        require_at_most(self, LARGEST_SETTINGS["blocks"], "discriminator_blocks")
        weights = ("gan_weight", "l1_weight", "perceptual_weight", "identity_weight")
        require_at_least(self, 0, "pool", "held_out", *weights)
        if not 0 < self.lr < math.inf:
            raise UserError(f"lr must be above 0, got {self.lr}")
        if not 0 <= self.decay <= 1:
            raise UserError(f"decay must be a part of the steps in [0, 1], got {self.decay}")
        if not 0 <= self.discriminator_start <= 1:
            raise UserError(
                f"discriminator_start must be a part of the steps in [0, 1], "
                f"got {self.discriminator_start}"
            )
        if not 0 <= self.ema < 1:
            raise UserError(f"ema must be at least 0 and below 1, got {self.ema}")
        if self.cameras not in PAIR_CAMERAS:
            raise UserError(
                f"cameras must be one of {', '.join(PAIR_CAMERAS)}, got {self.cameras!r}"
            )
        if self.pairs not in WEIGHTINGS:
            raise UserError(f"pairs must be one of {', '.join(WEIGHTINGS)}, got {self.pairs!r}")
        if self.gan not in GAN_LOSSES:
            raise UserError(f"gan must be one of {', '.join(GAN_LOSSES)}, got {self.gan!r}")

    @property
    def steps_before_discriminators(self) -> int:
        """Number of steps without discriminators."""
        return round(self.discriminator_start * self.steps)

    def rate(self, step: int) -> float:
        """The learning rate at a step (counted from 0): constant, then falling linearly to 0.

        The published schedule: in epoch t (counted from 1) of ``a`` constant and ``b`` falling
        epochs, the factor is 1 - max(0, t + 1 - a) / (b + 1).
        """
        epochs = math.ceil(self.steps / self.lr_every)
        falling = round(self.decay * epochs)
        late = step // self.lr_every + 2 - (epochs - falling)
        return self.lr * (1 - max(0, late) / (falling + 1)) if falling else self.lr
