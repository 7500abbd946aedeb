"""What a training of the generator is told: the recipe's table ``[train_generator]``.

The defaults are the published Market-1501 training; everything beyond the paper is off by default.
"""

import math
from dataclasses import dataclass

from reid_aug.generator.adversary import GAN_LOSSES
from reid_aug.runtime.errors import UserError, require_at_least
from reid_aug.stages.train_generator.pairs import CAMERAS, WEIGHTINGS


@dataclass(frozen=True, slots=True)
class TrainGeneratorConfig:
    """Schedule and losses; the defaults are the published Market-1501 training.

    ``decay`` is the last part of the steps, over which the learning rate falls to 0, and it changes
    every ``lr_every`` steps (there: 200 of 700 "epochs" of 125 steps). ``vgg`` is the path of
    torchvision's VGG-19 weights; without it the perceptual term is off. ``cameras`` says which
    images of an identity pair: "any" two as published, or two of the "same" camera, so that a
    drawing keeps the look of its source's camera instead of the mean of all. ``flip`` mirrors half
    of the pairs, left and right joints swapped; ``pairs`` draws "all" pairs alike as published, or
    "balanced", every identity equally often; ``held_out`` is how many identities are kept out of
    the training, to measure it by. ``ema`` averages the generator's weights with this memory.
    ``discriminator_start`` is the first part of the steps, in which the discriminators neither act
    nor learn. ``identity_model`` is the path of a re-ID network's ``model.safetensors``; without it
    that term is off. ``start`` is the path of a generator to go on from, ``start_appearance`` and
    ``start_pose`` of discriminators. ``bf16`` computes in bfloat16 where that is safe, ``compile``
    through torch.compile. ``sync_batch_norm`` lets batch norm see the batch of all ranks of a
    torchrun; ``batch`` is theirs together. ``tensorboard`` shows the losses there too.
    """

    steps: int = 87_500
    batch: int = 32
    lr: float = 2e-4
    decay: float = 200 / 700
    lr_every: int = 125
    gan: str = "bce"
    gan_weight: float = 5.0
    l1_weight: float = 10.0
    perceptual_weight: float = 10.0
    vgg: str = ""
    pool: int = 50
    cameras: str = "any"
    pairs: str = "all"
    held_out: int = 0
    discriminator_width: int = 64
    discriminator_blocks: int = 3
    flip: bool = False
    ema: float = 0.0
    discriminator_start: float = 0.0
    identity_model: str = ""
    identity_weight: float = 1.0
    start: str = ""
    start_appearance: str = ""
    start_pose: str = ""
    bf16: bool = False
    compile: bool = False
    sync_batch_norm: bool = False
    save_every: int = 2_500
    tensorboard: bool = False

    def __post_init__(self) -> None:
        whole = ("steps", "batch", "lr_every", "save_every", "discriminator_width")
        require_at_least(self, 1, *whole)
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
        if self.cameras not in CAMERAS:
            raise UserError(f"cameras must be one of {', '.join(CAMERAS)}, got {self.cameras!r}")
        if self.pairs not in WEIGHTINGS:
            raise UserError(f"pairs must be one of {', '.join(WEIGHTINGS)}, got {self.pairs!r}")
        if self.gan not in GAN_LOSSES:
            raise UserError(f"gan must be one of {', '.join(GAN_LOSSES)}, got {self.gan!r}")

    @property
    def steps_before_discriminators(self) -> int:
        """How many steps are done without discriminators."""
        return round(self.discriminator_start * self.steps)

    def rate(self, step: int) -> float:
        """Learning rate at a step (counted from 0): constant, then falling to 0 in a line.

        The published schedule: in epoch t (from 1) of ``a`` constant and ``b`` falling ones,
        1 - max(0, t + 1 - a) / (b + 1).
        """
        epochs = math.ceil(self.steps / self.lr_every)
        falling = round(self.decay * epochs)
        late = step // self.lr_every + 2 - (epochs - falling)
        return self.lr * (1 - max(0, late) / (falling + 1)) if falling else self.lr
