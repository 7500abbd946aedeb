"""The configuration of a generator: every hyperparameter that is needed to rebuild it."""

from dataclasses import dataclass

from torch import nn

from reid_aug.data.keypoints import HEATMAP_SIGMA
from reid_aug.runtime.errors import UserError, require_at_least

NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}
COUNTS = ("joints", "width", "downsamplings", "blocks", "cameras")
LARGEST_SETTINGS = {
    "downsamplings": 11,
    "blocks": 256,
}  # an image has at most 2,048 = 2**11 pixels per side


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """The hyperparameters of a generator; the defaults are the paper's for Market-1501."""

    joints: int = 18
    """The number of joints of a pose; at least 1."""

    width: int = 64
    """The number of channels after the first convolution; at least 1."""

    downsamplings: int = 2
    """The number of stride-2 convolutions of an encoder, 1 to 11.

    Each halves height and width and doubles the number of channels.
    """

    blocks: int = 9
    """The number of pose-attentional transfer blocks, 1 to 256."""

    norm: str = "batch"
    """The norm behind the convolutions: "batch" (Market-1501) or "instance" (DeepFashion)."""

    dropout: float = 0.5
    """The dropout probability inside a block, in [0, 1)."""

    cameras: int = 0
    """The number of cameras the generator is conditioned on, camids 1 to ``cameras``.

    0 builds a generator that is not camera-conditioned, as in the paper.
    """

    limbs: bool = False
    """Whether the generator is limb-conditioned: the source's limbs, moved, are an input."""

    sigma: float = HEATMAP_SIGMA
    """The standard deviation of a joint's Gaussian in the heatmaps, in pixels; 0 or more.

    0 sets one pixel per joint, as in the published training on DeepFashion.
    """

    def __post_init__(self) -> None:
        check_norm(self.norm)
        for key in COUNTS:
            value, most = getattr(self, key), LARGEST_SETTINGS.get(key)
            if not isinstance(value, int):
                raise UserError(f"{key} must be a whole number, got {value!r}")
            if most and value > most:
                raise UserError(f"{key} must be at most {most}, got {value}")
        require_at_least(self, 1, "joints", "width", "downsamplings", "blocks")
        require_at_least(self, 0, "cameras", "sigma")
        check_dropout(self.dropout)


def check_norm(norm: str) -> None:
    """Raise a UserError unless ``norm`` is a key of :data:`NORMS`."""
    if norm not in NORMS:
        raise UserError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")


def check_dropout(dropout: float) -> None:
    """Raise a UserError unless ``dropout`` is a probability below 1."""
    if not 0 <= dropout < 1:
        raise UserError(f"dropout must be at least 0 and below 1, got {dropout}")
