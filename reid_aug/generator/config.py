"""What a generator is built from: everything needed to rebuild one."""

from dataclasses import dataclass

from torch import nn

from reid_aug.data.keypoints import SIGMA
from reid_aug.runtime.errors import UserError, require_at_least

NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}
COUNTS = ("joints", "width", "downsamplings", "blocks", "cameras")
MOST = {"downsamplings": 11, "blocks": 256}  # a picture has at most 2,048 = 2**11 pixels a side


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """Everything needed to rebuild a generator; the defaults are the paper's for Market-1501.

    ``width`` counts the channels after the first convolution; each of the ``downsamplings`` halves
    the picture and doubles them. ``norm`` is "batch" for Market-1501, "instance" for DeepFashion.
    ``cameras`` is how many cameras the generator is told apart, camids 1 to this; 0: none, as in
    the paper. ``limbs`` says whether it is shown the source's limbs in the target pose. ``sigma``
    is the width of a joint's bump in the heatmaps, in pixels; 0 is one pixel a joint, as the
    published training on DeepFashion had it.
    """

    joints: int = 18
    width: int = 64
    downsamplings: int = 2
    blocks: int = 9
    norm: str = "batch"
    dropout: float = 0.5
    cameras: int = 0
    limbs: bool = False
    sigma: float = SIGMA

    def __post_init__(self) -> None:
        check_norm(self.norm)
        for key in COUNTS:
            value, most = getattr(self, key), MOST.get(key)
            if not isinstance(value, int):
                raise UserError(f"{key} must be a whole number, got {value!r}")
            if most and value > most:
                raise UserError(f"{key} must be at most {most}, got {value}")
        require_at_least(self, 1, "joints", "width", "downsamplings", "blocks")
        require_at_least(self, 0, "cameras", "sigma")
        check_dropout(self.dropout)


def check_norm(norm: str) -> None:
    """Raise a UserError unless ``norm`` is one that we build."""
    if norm not in NORMS:
        raise UserError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")


def check_dropout(dropout: float) -> None:
    """Raise a UserError unless ``dropout`` is a probability below 1."""
    if not 0 <= dropout < 1:
        raise UserError(f"dropout must be at least 0 and below 1, got {dropout}")
