"""Show a bank to people: one page, the best and the worst of its images by a score.

The page holds its pictures itself and asks nothing from outside. Beside each drawing stand its
source, the pose asked for, whom it shows, and every score (:mod:`reid_aug.score_bank`). Without
scores the page shows rows spread evenly over the bank.
"""

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from reid_aug.bank import Bank
from reid_aug.dataset import PersonImage, read_image
from reid_aug.errors import UserError
from reid_aug.files import committed
from reid_aug.pictures import draw_pose
from reid_aug.poses import Pose

SHOWN = 50  # rows at either end
STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem;
       color: #222; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
ul { display: grid; grid-template-columns: repeat(auto-fill, minmax(212px, 1fr)); gap: 12px;
     list-style: none; padding: 0 }
li { border: 1px solid #ddd; border-radius: 4px; padding: 8px } img { width: 64px; height: 128px }
small { display: block; color: #555; overflow-wrap: anywhere }
"""


def write_bank_page(
    bank: Bank, real: Sequence[PersonImage], path: Path, by: str | None = None
) -> str | None:
    """Write the page; the score by which it is sorted, None if the bank has none.

    Args:
        bank: the bank.
        real: its kept set, where the sources are.
        path: the page to write.
        by: the score; without one "margin" if the bank has it, else the first by name.

    Raises:
        UserError: If the bank has no such score, or a source is not in the kept set.
    """
    by = choose_score(bank, by)
    images = {image.name: image for image in real}
    sections = []
    for title, rows in _sections(bank, by):
        cards = "\n".join(_card(bank, row, images) for row in rows)
        sections.append(f"<h2>{escape(title)}</h2>\n<ul>\n{cards}\n</ul>")
    head = f"{len(bank)} generated images of {len(set(bank.rows.pid.tolist()))} identities"
    plan = escape(json.dumps(bank.plan))
    page = (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">\n<title>{escape(path.stem)}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{head}</h1>\n"
        f"<p>All images here are synthetic. Plan: <code>{plan}</code></p>\n"
        + "\n".join(sections)
        + "\n</body>\n</html>\n"
    )
    with committed(path) as part:
        part.write_text(page, encoding="utf-8")
    return by


def choose_score(bank: Bank, by: str | None) -> str | None:
    """The score to sort by.

    Raises:
        UserError: If the bank does not have it.
    """
    names = sorted(bank.scores)
    if by is not None and by not in names:
        known = ", ".join(names) or "none"
        raise UserError(
            f"{bank.path}: --by must be a score of the bank ({known}), got {by!r}; "
            f"make scores with: reid-aug bank score"
        )
    return by or ("margin" if "margin" in names else next(iter(names), None))


def _sections(bank: Bank, by: str | None) -> Iterator[tuple[str, list[int]]]:
    """Titles, and the rows below each."""
    if by is None:
        rows = np.linspace(0, len(bank) - 1, min(2 * SHOWN, len(bank))).astype(int)
        yield "Spread over the bank (it has no scores)", rows.tolist()
        return
    values = bank.scores[by]
    order = np.argsort(-values, kind="stable")  # what is not scored comes last
    scored = order[: int(np.isfinite(values).sum())]
    count = min(SHOWN, -(-len(scored) // 2))
    yield f"The best {count} by {by}", scored[:count].tolist()
    worst = scored[count:][-SHOWN:][::-1]
    yield f"The worst {len(worst)} by {by}", worst.tolist()


def _card(bank: Bank, row: int, images: Mapping[str, PersonImage]) -> str:
    entry, size = bank[row], (bank.height, bank.width)
    if entry.source not in images:
        raise UserError(
            f"{bank.path}: source {entry.source} must be an image of the kept set; give the data "
            f"set of the bank with --data DIR"
        )
    source = read_image(images[entry.source].path, *size)
    pictures = source, draw_pose(Pose(entry.keypoints), *size), entry.image
    shown = "".join(
        f'<img src="data:image/jpeg;base64,{_jpeg(picture)}" alt="{kind}">'
        for picture, kind in zip(pictures, ("source", "pose", "generated"), strict=True)
    )
    scores = ", ".join(f"{name} {bank.scores[name][row]:.3f}" for name in sorted(bank.scores))
    lines = (
        f"row {row}: pid {entry.pid}, camera {entry.camid}",
        f"{entry.source} in the pose of {entry.target}",
        scores,
    )
    text = "".join(f"<small>{escape(line)}</small>" for line in lines if line)
    return f"<li>{shown}{text}</li>"


def _jpeg(picture: np.ndarray) -> str:
    """(H, W, 3) uint8 as base64."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=90)
    return base64.b64encode(file.getvalue()).decode()
