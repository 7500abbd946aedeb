"""A discriminator's checkpoint: one safetensors file that says which of the two it is.

In the metadata stand ``format``, ``judge`` ("appearance" or "pose") and whatever the caller notes,
each as JSON.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from reid_aug.generator.adversary.discriminator import Discriminator
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.weights import read_tensors, write_tensors

FORMAT = "reid_aug.discriminator/1"


def save_discriminator(
    network: Discriminator, judge: str, path: Path | str, notes: Mapping[str, Any]
) -> None:
    """Write a checkpoint that says what it is; ``notes`` join its metadata."""
    head = {"format": FORMAT, "judge": judge}
    write_tensors(path, network.state_dict(), {**notes, **head})


def read_discriminator(path: Path | str, judge: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a discriminator, and the notes of whoever wrote them.

    Args:
        judge: "appearance" or "pose".

    Raises:
        UserError: If the file is missing or holds no such discriminator.
    """
    rule = f"{path}: must hold a discriminator of {judge} ({FORMAT})"
    if Path(path).suffix != ".safetensors":
        raise UserError(f"{rule}; convert released weights with: reid-aug generator import")
    tensors, notes = read_tensors(path)
    found = f"{notes.get('format')!r} {notes.get('judge', '')}".strip()
    if (notes.get("format"), notes.get("judge")) != (FORMAT, judge):
        raise UserError(f"{rule}, got {found}")
    return tensors, notes
