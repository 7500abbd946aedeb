"""A trained re-ID network: ``model.safetensors``, as ``reid-aug train-reid`` writes it.

The metadata of the file holds the backbone, the image size and the training images.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from reid_aug.backbones import build_backbone, load_starting_weights
from reid_aug.data.provenance import recorded_fingerprints
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.records import Table
from reid_aug.runtime.weights import read_tensors

MODEL_FORMAT = "reid_aug.reid/1"


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
    if metadata.get("format") != MODEL_FORMAT:
        raise UserError(
            f"{path}: must be a network that reid-aug train-reid wrote ({MODEL_FORMAT}), got "
            f"format {metadata.get('format')!r}; name the model.safetensors of a training"
        )
    recipe = Table(metadata, str(path), remedy="give an intact copy").table("recipe")
    size = recipe.whole("height", 16, 2048), recipe.whole("width", 16, 2048)
    stride = recipe.whole("last_stride", 0, 1) if recipe.has("last_stride") else 0
    has_neck = recipe.truth("bnneck") if recipe.has("bnneck") else False
    # the classifier is not used
    model = build_backbone(recipe.text("backbone"), 2, *size, stride, has_neck)
    load_starting_weights(model, path)
    return ReidNetwork(model.eval(), size, recorded_fingerprints(metadata))
