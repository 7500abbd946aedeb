"""The data card of a bank, ``bank.json`` beside it, for everyone who receives the file.

It states that the images are synthetic, their method, source data, time and seeds, and the terms of
use of the source data. Everything that may differ between two equal banks (time, host, paths,
versions) is in the card and not in the bank.
"""

import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reid_aug import __version__
from reid_aug.bank import Bank
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256, write_json
from reid_aug.runtime.records import Table, read_table
from reid_aug.runtime.regular_files import open_regular

CARD_FORMAT = "reid_aug.bank-card/1"
LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "license.txt", "LICENCE", "LICENCE.txt")
LONGEST = 4000  # characters of a licence that are copied
NOTE = "Generated images of the people in the source data set: its terms of use hold for them too."
NO_LICENCE = (
    "The source data set holds no licence file. Ask its owners before you use or share the images; "
    "many re-ID data sets are for research only."
)


def write_card(bank: Bank, root: Path, made: Mapping[str, Any]) -> None:
    """Write the card of a bank beside it.

    Args:
        root: folder of the source data set.
        made: further entries about how the bank was made.
    """
    stored = bank.attributes.stored()
    about = {k: v for k, v in stored.items() if k not in ("plan", "scores", "synthetic")}
    card = {
        "format": CARD_FORMAT,
        "synthetic": True,
        "images": len(bank),
        "identities": len(np.unique(bank.rows.pid)),
        "size": [bank.height, bank.width],
        **about,
        "plan": bank.plan.as_dict(),
        "scores": bank.about_scores,
        "bank_sha256": sha256(bank.path),
        "source_data": root.name,
        **made,
        "host": platform.node(),
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": {"reid_aug": __version__, "numpy": np.__version__, **made.get("versions", {})},
        "licence": NOTE,
        "source_licence": source_licence(root),
    }
    write_json(bank.path.with_suffix(".json"), card)


def images_on_card(path: Path) -> int:
    """The number of images of the bank at ``path``, from its card; the bank is not opened."""
    return read_card(path).whole("images", 0)


def has_scores_on_card(path: Path) -> bool:
    """Whether the bank at ``path`` has scores, from its card; the bank is not opened."""
    return bool(_card(path).get("scores"))


def read_card(path: Path) -> Table:
    """The card beside the bank at ``path``.

    Raises:
        UserError: If it is missing, or is no data card of this version.
    """
    remedy = "remove it, and give the command that made the bank again"
    return read_table(path.with_suffix(".json"), "the data card of a bank", remedy, CARD_FORMAT)


def has_own_card(path: Path) -> bool:
    """Whether the card beside the bank at ``path`` belongs to this file, by its checksum."""
    return path.is_file() and _card(path).get("bank_sha256") == sha256(path)


def noted_generator(path: Path) -> Path | None:
    """The checkpoint that the card beside the bank at ``path`` names; None without one."""
    file = _card(path).get("generator")
    return Path(file) if isinstance(file, str) else None


def _card(path: Path) -> dict[str, Any]:
    """The card beside the bank at ``path``; {} without a readable one."""
    try:
        return dict(read_card(path).content)
    except UserError:
        return {}


def source_licence(root: Path) -> str:
    """The licence text of the data set, or a sentence that it has none."""
    for folder in (root, root.parent):
        for name in LICENCES:
            if (folder / name).is_file():
                with open_regular(folder / name) as file:
                    return file.read(4 * LONGEST).decode(errors="replace")[:LONGEST].strip()
    return NO_LICENCE
