"""A trained re-ID network: ``model.safetensors``, as ``reid-aug train-reid`` writes it.

The metadata of the file holds the backbone, the image size and the training images.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from reid_aug.backbones import build_backbone, load_starting_weights
from reid_aug.data.provenance import recorded_fingerprints
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.weights import read_tensors

SIDES = range(16, 2049)  # pixels; the network is run once on an image of its size


@dataclass(frozen=True, slots=True)
class ReidNetwork:
    """A trained network."""

    model: nn.Module
    """The network in eval mode: normalised images (B, 3, height, width) to features (B, D)."""

    size: tuple[int, int]
    """The (height, width) of its images, in pixels."""

    trained_on: str
    """The fingerprints of its training images; "" if they are unknown."""


def load_reid_network(path: Path | str) -> ReidNetwork:
    """Read ``model.safetensors``, as ``reid-aug train-reid`` writes it.

    Raises:
        UserError: If the file is missing or is not one that ``reid-aug train-reid`` wrote.
    """
    metadata = read_tensors(path)[1]
    recipe = metadata.get("recipe")
    if not isinstance(recipe, dict) or not {"backbone", "height", "width"} <= recipe.keys():
        raise UserError(
            f"{path}: must be a network that reid-aug train-reid wrote (model.safetensors), got "
            f"a file without a recipe"
        )
    size = recipe["height"], recipe["width"]
    if not all(isinstance(side, int) and side in SIDES for side in size):
        raise UserError(f"{path}: height and width must be in 16..2048 pixels, got {size}")
    shape = recipe.get("last_stride", 0), recipe.get("bnneck", False)
    model = build_backbone(recipe["backbone"], 2, *size, *shape)  # the classifier is not used
    load_starting_weights(model, path)
    return ReidNetwork(model.eval(), size, recorded_fingerprints(metadata))
