"""Write one HTML page of a bank: the best and the worst of its images by a score.

The page contains its pictures and loads nothing from other places. It shows each generated image
with its source, the target pose, the identity and every score
(:mod:`reid_aug.stages.bank.score`). Without scores it shows rows spread evenly over the bank.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reid_aug.bank import Bank
from reid_aug.data.dataset import PersonImage, read_image
from reid_aug.data.keypoints import Pose
from reid_aug.data.pictures import draw_pose
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.pages import picture, write_page

SHOWN = 50  # best rows, and as many worst ones


def write_bank_page(
    bank: Bank, real: Sequence[PersonImage], path: Path, by: str | None = None
) -> str | None:
    """Write the page; returns the score by which it is sorted, None if the bank has none.

    Args:
        bank: the bank.
        real: its kept set, which contains the sources.
        path: the page to write.
        by: the score; if None, "margin" if the bank has it, else the first by name.

    Raises:
        UserError: If the bank does not have the score, or a source is not in the kept set.
    """
    by = choose_score(bank, by)
    images = {image.name: image for image in real}
    sections = [
        (title, [_card(bank, row, images) for row in rows]) for title, rows in _sections(bank, by)
    ]
    write_page(
        path,
        "bank.html",
        title=path.stem,
        images=len(bank),
        identities=len(set(bank.rows.pid.tolist())),
        plan=bank.plan.as_json(),
        sections=sections,
    )
    return by


def choose_score(bank: Bank, by: str | None) -> str | None:
    """The score by which the page is sorted; None if the bank has no scores.

    Raises:
        UserError: If the bank does not have the score ``by``.
    """
    names = sorted(bank.scores)
    if by is not None and by not in names:
        known = ", ".join(names) or "none"
        raise UserError(
            f"{bank.path}: --by must be a score of the bank ({known}), got {by!r}",
            Remedy(("bank", "score"), words="make scores with"),
        )
    return by or ("margin" if "margin" in names else next(iter(names), None))


def _sections(bank: Bank, by: str | None) -> Iterator[tuple[str, list[int]]]:
    """The sections: title and rows of each."""
    if by is None:
        rows = np.linspace(0, len(bank) - 1, min(2 * SHOWN, len(bank))).astype(int)
        yield "Spread over the bank (it has no scores)", rows.tolist()
        return
    values = bank.scores[by]
    order = np.argsort(-values, kind="stable")  # rows without a score (NaN) come last
    scored = order[: int(np.isfinite(values).sum())]
    count = min(SHOWN, -(-len(scored) // 2))
    yield f"The best {count} by {by}", scored[:count].tolist()
    worst = scored[count:][-SHOWN:][::-1]
    yield f"The worst {len(worst)} by {by}", worst.tolist()


def _card(bank: Bank, row: int, images: Mapping[str, PersonImage]) -> dict[str, Any]:
    entry, size = bank[row], (bank.height, bank.width)
    if entry.source not in images:
        raise UserError(
            f"{bank.path}: source {entry.source!r} must be an image of the kept set; give the data "
            f"set of the bank with --data DIR"
        )
    source = read_image(images[entry.source].path, *size)
    pictures = source, draw_pose(Pose(entry.keypoints), *size), entry.image
    kinds = "source", "pose", "generated"
    scores = ", ".join(f"{name} {bank.scores[name][row]:.3f}" for name in sorted(bank.scores))
    lines = (
        f"row {row}: pid {entry.pid}, camera {entry.camid}",
        f"{entry.source} in the pose of {entry.target}",
        scores,
    )
    addresses = [picture(image) for image in pictures]
    return {
        "pictures": list(zip(kinds, addresses, strict=True)),
        "lines": [line for line in lines if line],
    }
