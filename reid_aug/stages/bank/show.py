"""Write one HTML page of a bank: the images with the highest and the lowest values of a score.

The page contains its pictures and loads nothing from other places. It shows each generated image
with its source, the target pose, the identity and every score
(:mod:`reid_aug.stages.bank.score`). Without scores it shows rows spread evenly over the bank.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from reid_aug.bank import Bank
from reid_aug.bank.card import noted_generator
from reid_aug.bank.contact_sheet import write_contact_sheet
from reid_aug.bank.plan import IMPORTED, POSE_FILE
from reid_aug.bank.scores import PREFERRED_SCORES, SCORE_MEANINGS
from reid_aug.data.dataset import PersonImage, kept, read_image
from reid_aug.data.keypoints import Pose
from reid_aug.data.pictures import draw_pose
from reid_aug.data.provenance import LeakStatus
from reid_aug.people import dataset_name
from reid_aug.people.pose_library import LIBRARY
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.pages import picture, write_page
from reid_aug.stages.bank.opening import open_bank
from reid_aug.stages.cost import Cost
from reid_aug.stages.job import Job, Progress

if TYPE_CHECKING:
    from reid_aug.stages.stage import Stage

ROWS_PER_SECTION = 50  # rows with the highest values, and as many with the lowest


def prepare(stage: "Stage", bank: Path | str | None = None, by: str | None = None) -> "ShowBankJob":
    """Open the bank of a stage, and choose the score that sorts its page; nothing is written.

    Args:
        bank: the bank; None is that of the run folder.
        by: the score; None is the first of ``PREFERRED_SCORES`` that the bank has.

    Raises:
        UserError: If the bank is missing or damaged, or does not have the score.
    """
    opened = open_bank(stage, bank)
    return ShowBankJob(stage, opened, choose_score(opened, by))


@dataclass(frozen=True)
class ShowBankJob(Job):
    """The page and the contact sheet of a bank, ready to be written."""

    stage: "Stage"
    bank: Bank
    by: str | None
    """The score that sorts the page; None for a bank without scores."""

    @property
    def path(self) -> Path:
        """The page."""
        return self.stage.run.path / "bank.html"

    def real(self) -> tuple[PersonImage, ...]:
        """The kept set of the bank."""
        about = self.bank.attributes
        return kept(self.stage.dataset.train, about.keep, about.keep_seed)

    def describe(self) -> str:
        """The bank and the order of its images."""
        if self.by:
            return f"{self.bank.path}, sorted by {self.by}"
        data = {} if self.stage.is_demo else {"data": str(self.stage.root)}
        options = {"bank": str(self.bank.path), **data}
        remedy = Remedy(("bank", "score"), options, words="make them with")
        return f"{self.bank.path}: no scores; {remedy}"

    def cost(self, device: torch.device) -> Cost:
        """Time and size of the page, from its first row."""
        rows = [row for _, some in _sections(self.bank, self.by) for row in some]
        images = {image.name: image for image in self.real()}
        begin = time.perf_counter()
        size = len(str(_card(self.bank, rows[0], images)))
        return Cost((time.perf_counter() - begin) * len(rows), size * len(rows))

    def run(self, progress: Progress | None = None) -> Path:
        """Write the page and the contact sheet into the run folder; the path of the page."""
        real, stage = self.real(), self.stage
        write_bank_page(self.bank, real, self.path, self.by, dataset_name(stage.root))
        write_contact_sheet(self.bank, real, stage.root, stage.run.contact_sheet)
        return self.path

    def outcome(self) -> str:
        """Where the contact sheet is."""
        return f"contact sheet: {self.stage.run.contact_sheet}"


def write_bank_page(
    bank: Bank, real: Sequence[PersonImage], path: Path, by: str | None = None, dataset: str = ""
) -> str | None:
    """Write the page; returns the score by which it is sorted, None if the bank has none.

    Args:
        bank: the bank.
        real: its kept set, which contains the sources.
        path: the page to write.
        by: the score; if None, the first of ``PREFERRED_SCORES`` that the bank has.
        dataset: the name of the data set.

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
        title=bank.path.absolute().parent.name,
        images=len(bank),
        identities=len(set(bank.rows.pid.tolist())),
        facts=_facts(bank, dataset),
        scores=_ranges(bank),
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
            Remedy(("bank", "score"), {"bank": str(bank.path)}, words="make scores with"),
        )
    preferred = [name for name in PREFERRED_SCORES if name in names]
    return by or next(iter([*preferred, *names]), None)


def _facts(bank: Bank, dataset: str) -> list[tuple[str, str]]:
    """What the bank is and how its rows were made, as pairs of words."""
    about, plan, note = bank.attributes, bank.plan, noted_generator(bank.path)
    poses = {
        "random": "random poses of the kept set",
        IMPORTED: "imported, poses may be unknown",
        LIBRARY: "the pose library",
        POSE_FILE: f"a keypoint file, SHA-256 {(plan.poses_sha256 or '')[:12]}",
    }
    cameras = {"source": "that of the source image", "target": "that of the image of the pose"}
    backgrounds = {"target": "that of the image of the pose"}
    generator = f"{note.name}, " if note else ""
    return [
        ("bank", f"{bank.path}, images of {bank.height} x {bank.width} pixels"),
        ("data set", f"{dataset or 'not named'}, SHA-256 {about.dataset_sha256[:12]}"),
        ("kept set", f"keep {about.keep:g}, keep_seed {about.keep_seed}"),
        ("method", plan.method),
        (
            "generator",
            f"{generator}trained on: {LeakStatus.read(about.generator_data).explained}, "
            f"SHA-256 {about.generator_sha256[:12]}",
        ),
        ("poses", poses.get(plan.poses, f"chosen by the policy {plan.poses}")),
        ("camera of an image", cameras.get(plan.cameras, plan.cameras)),
        ("background of an image", backgrounds.get(plan.background or "", "generated")),
        ("jitter of the light", f"{plan.jitter:g}" if plan.jitter else "none"),
        ("made for", f"mode {about.mode}, ratio {about.ratio:g}; seed {about.seed}"),
    ]


def _ranges(bank: Bank) -> list[tuple[str, str, str]]:
    """The name, the meaning and the range of every score."""
    found = []
    for name in sorted(bank.scores):
        values = bank.scores[name][np.isfinite(bank.scores[name])]
        low, middle, high = np.quantile(values, [0, 0.5, 1]) if len(values) else [np.nan] * 3
        meaning = SCORE_MEANINGS.get(name, "a score of an installed package; larger is better")
        found.append((name, meaning, f"{low:.3f} to {high:.3f}, median {middle:.3f}"))
    return found


def _sections(bank: Bank, by: str | None) -> Iterator[tuple[str, list[int]]]:
    """The sections: title and rows of each."""
    if by is None:
        rows = np.linspace(0, len(bank) - 1, min(2 * ROWS_PER_SECTION, len(bank))).astype(int)
        yield "Spread over the bank (it has no scores)", rows.tolist()
        return
    values = bank.scores[by]
    order = np.argsort(-values, kind="stable")  # rows without a score (NaN) come last
    scored = order[: int(np.isfinite(values).sum())]
    count = min(ROWS_PER_SECTION, -(-len(scored) // 2))
    yield f"The {count} highest by {by}", scored[:count].tolist()
    worst = scored[count:][-ROWS_PER_SECTION:][::-1]
    yield f"The {len(worst)} lowest by {by}", worst.tolist()


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
