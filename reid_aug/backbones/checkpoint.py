"""A trained re-ID network, as ``reid-aug train-reid`` leaves it in ``model.safetensors``.

The file says which backbone it is, at what size it looks at people, and whom it has seen.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from reid_aug.backbones import build_backbone, load_starting_weights
from reid_aug.data.provenance import recorded_fingerprints
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.weights import read_tensors

SIDES = range(16, 2049)  # pixels; the network is tried on a picture of its size


@dataclass(frozen=True, slots=True)
class ReidNetwork:
    """A trained network in eval mode: normalised images of ``size`` to features (B, D).

    ``seen`` are the fingerprints of all images that it knows, "" where nobody noted them.
    """

    model: nn.Module
    size: tuple[int, int]
    seen: str


def load_reid_network(path: Path | str) -> ReidNetwork:
    """Read ``model.safetensors``, as ``reid-aug train-reid`` writes it.

    Raises:
        UserError: If the file is missing or is another.
    """
    notes = read_tensors(path)[1]
    recipe = notes.get("recipe")
    if not isinstance(recipe, dict) or not {"backbone", "height", "width"} <= recipe.keys():
        raise UserError(
            f"{path}: must be a network that reid-aug train-reid wrote (model.safetensors), got "
            f"a file without its recipe"
        )
    size = recipe["height"], recipe["width"]
    if not all(isinstance(side, int) and side in SIDES for side in size):
        raise UserError(f"{path}: height and width must be in 16..2048 pixels, got {size}")
    shape = recipe.get("last_stride", 0), recipe.get("bnneck", False)
    model = build_backbone(recipe["backbone"], 2, *size, *shape)  # the class layer is not asked
    load_starting_weights(model, path)
    return ReidNetwork(model.eval(), size, recorded_fingerprints(notes))
