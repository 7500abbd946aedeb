"""Discriminators that PATN's authors released, in our networks.

Names and shapes say what they are, as for a generator (:mod:`reid_aug.generator.released`).
"""

import re
from pathlib import Path

from reid_aug.generator import first_convolution, load_official, released_norm
from reid_aug.generator.adversary.checkpoint import read_discriminator, save_discriminator
from reid_aug.generator.adversary.discriminator import Discriminator
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.runtime.weights import read_weights

CONDITION = {"appearance": 3, "pose": 18}  # channels behind the three of the picture
RESIDUAL = re.compile(r"model\.(\d+)\.conv_block\.")


def import_official_discriminator(path: Path | str) -> Discriminator:
    """Read a discriminator released by the PATN authors (``latest_net_netD_PP.pth``, ``..._PB``).

    Raises:
        UserError: If the tensors are not those of a PATN discriminator.
    """
    state = read_weights(path)
    width, channels = first_convolution(state, "model.1.weight", path)
    blocks = sorted({int(found[1]) for found in map(RESIDUAL.match, state) if found})
    network = Discriminator(channels, width, len(blocks), released_norm(state, "model.1"))
    names = {"encode.": "model.", ".change.": ".conv_block."}
    names |= {f"blocks.{i}.": f"model.{index}." for i, index in enumerate(blocks)}
    load_official(network, state, names, path)
    return network


def import_discriminator_checkpoint(official: Path | str, discriminator: str, path: Path) -> None:
    """Write a released discriminator as a checkpoint of ours.

    Nobody noted which images it has seen, which counts as the worst.

    Args:
        discriminator: "appearance" (``netD_PP``) or "pose" (``netD_PB``).

    Raises:
        UserError: If it is not that one, or ``path`` holds another one.
    """
    network = import_official_discriminator(official)
    wanted, found = 3 + CONDITION[discriminator], next(network.parameters()).shape[1]
    if found != wanted:
        raise UserError(
            f"{official}: must be the discriminator of {discriminator}, which takes {wanted} "
            f"channels, got one of {found}"
        )
    notes = {
        "imported": {"file": Path(official).name, "sha256": sha256(official)},
        "trained_on": "",
    }
    if not path.exists():
        save_discriminator(network, discriminator, path, notes)
    elif read_discriminator(path, discriminator)[1].get("imported") != notes["imported"]:
        raise UserError(
            f"{path}: is there already and is another discriminator; choose another folder with "
            f"--out, or remove the file"
        )
