"""The checkpoint of a discriminator: one safetensors file.

Its metadata holds ``format``, ``discriminator`` ("appearance" or "pose") and the entries that the
caller adds, each as JSON.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from reid_aug.generator.adversary.discriminator import Discriminator
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.weights import read_tensors, write_tensors

DISCRIMINATORS_FORMAT = "reid_aug.discriminator/1"


def save_discriminator(
    network: Discriminator, kind: str, path: Path | str, notes: Mapping[str, Any]
) -> None:
    """Write a checkpoint; the entries of ``notes`` are added to its metadata.

    Args:
        kind: "appearance" or "pose".
    """
    head = {"format": DISCRIMINATORS_FORMAT, "discriminator": kind}
    write_tensors(path, network.state_dict(), {**notes, **head})


def read_discriminator(path: Path | str, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a discriminator and the metadata of its file.

    Args:
        kind: "appearance" or "pose".

    Raises:
        UserError: If the file is missing or is not a checkpoint of this discriminator.
    """
    rule = f"{path}: must hold the {kind} discriminator ({DISCRIMINATORS_FORMAT})"
    if Path(path).suffix != ".safetensors":
        raise UserError(
            rule, Remedy(("generator", "import"), words="convert released weights with")
        )
    tensors, metadata = read_tensors(path)
    found = f"{metadata.get('format')!r} {metadata.get('discriminator', '')}".strip()
    if (metadata.get("format"), metadata.get("discriminator")) != (DISCRIMINATORS_FORMAT, kind):
        raise UserError(f"{rule}, got {found}")
    return tensors, metadata
