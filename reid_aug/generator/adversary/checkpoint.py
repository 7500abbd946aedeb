"""A discriminator's checkpoint: one safetensors file that says which of the two it is.

In the metadata stand ``format``, ``discriminator`` ("appearance" or "pose") and whatever the caller
notes, each as JSON.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from reid_aug.generator.adversary.discriminator import Discriminator
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.weights import read_tensors, write_tensors

FORMAT = "reid_aug.discriminator/1"


def save_discriminator(
    network: Discriminator, discriminator: str, path: Path | str, notes: Mapping[str, Any]
) -> None:
    """Write a checkpoint that says what it is; ``notes`` join its metadata."""
    head = {"format": FORMAT, "discriminator": discriminator}
    write_tensors(path, network.state_dict(), {**notes, **head})


def read_discriminator(
    path: Path | str, discriminator: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a discriminator, and the notes of whoever wrote them.

    Args:
        discriminator: "appearance" or "pose".

    Raises:
        UserError: If the file is missing or holds no such discriminator.
    """
    rule = f"{path}: must hold a discriminator of {discriminator} ({FORMAT})"
    if Path(path).suffix != ".safetensors":
        raise UserError(
            rule, Remedy(("generator", "import"), words="convert released weights with")
        )
    tensors, notes = read_tensors(path)
    found = f"{notes.get('format')!r} {notes.get('discriminator', '')}".strip()
    if (notes.get("format"), notes.get("discriminator")) != (FORMAT, discriminator):
        raise UserError(f"{rule}, got {found}")
    return tensors, notes
