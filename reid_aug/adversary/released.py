"""Discriminators that PATN's authors released, in our networks.

Names and shapes say what they are, as for a generator (:mod:`reid_aug.generator.released`).
"""

import re
from pathlib import Path

from reid_aug.adversary.discriminator import Discriminator
from reid_aug.generator import first_convolution, load_official, released_norm
from reid_aug.weights import read_weights

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
