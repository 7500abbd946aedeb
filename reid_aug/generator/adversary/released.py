"""The discriminators that the authors of PATN released, converted to this network.

The config is inferred from names and shapes, as for a generator
(:mod:`reid_aug.generator.released`).
"""

import re
from pathlib import Path

from reid_aug.generator import first_convolution, load_official, released_norm
from reid_aug.generator.adversary.checkpoint import read_discriminator, save_discriminator
from reid_aug.generator.adversary.discriminator import Discriminator
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.runtime.weights import read_weights

CONDITION = {"appearance": 3, "pose": 18}  # channels after the three of the image
RESIDUAL = re.compile(r"model\.(\d+)\.conv_block\.")


def import_official_discriminator(path: Path | str) -> Discriminator:
    """Return a discriminator that the PATN authors released, in training mode.

    Their files are ``latest_net_netD_PP.pth`` and ``latest_net_netD_PB.pth``.

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


def import_discriminator_checkpoint(official: Path | str, kind: str, path: Path) -> None:
    """Write a released discriminator as a checkpoint of this package.

    Its training images are unknown, so ``trained_on`` is empty, which counts as the worst leak
    status. An equal checkpoint at ``path`` is kept.

    Args:
        kind: "appearance" (``netD_PP``) or "pose" (``netD_PB``).

    Raises:
        UserError: If the file is not this discriminator, or ``path`` is another one.
    """
    network = import_official_discriminator(official)
    wanted, found = 3 + CONDITION[kind], next(network.parameters()).shape[1]
    if found != wanted:
        raise UserError(
            f"{official}: must be the {kind} discriminator, which has {wanted} input channels, got "
            f"one of {found}; choose the other file"
        )
    notes = {
        "imported": {"file": Path(official).name, "sha256": sha256(official)},
        "trained_on": "",
    }
    if not path.exists():
        save_discriminator(network, kind, path, notes)
    elif read_discriminator(path, kind)[1].get("imported") != notes["imported"]:
        raise UserError(
            f"{path}: must be missing or the same discriminator, got another one; choose another "
            f"folder with --out, or remove the file"
        )
