"""The contact sheet of a bank: sources, target poses and generated images in one picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid_aug.bank import Bank
from reid_aug.bank.methods import find_method
from reid_aug.data.dataset import PersonImage, read_image
from reid_aug.data.keypoints import Pose
from reid_aug.data.pictures import POSE_LEGEND, draw_pose, sheet, write_picture
from reid_aug.people import is_people, read_people

SHEET_ROWS = 32  # rows of the bank


def write_contact_sheet(bank: Bank, real: Sequence[PersonImage], root: Path, path: Path) -> None:
    """Write source, target pose and generated image of rows spread over the bank, as one PNG.

    For the built-in people the true image is known and stands beside the generated one, unless the
    method does not change the pose, or the poses belong to no image.

    Args:
        real: the kept set.
        root: folder of the data set.
    """
    images = {image.name: image for image in real}
    method = find_method(bank.plan.method)  # None for images from other software
    has_pose_of_image = bank.plan.poses_sha256 is None and (method is None or method.changes_pose)
    has_truth = is_people(root) and has_pose_of_image
    people = read_people(root) if has_truth else None
    rows, captions = [], []
    for row in shown_rows(bank):
        entry = bank[row]
        source = read_image(images[entry.source].path, bank.height, bank.width)
        pose = draw_pose(Pose(entry.keypoints), bank.height, bank.width)
        names = entry.source, entry.target
        truth = [people.truth(*names, entry.camid)] if people else []
        rows.append([source, pose, entry.image, *truth])
        before = images[entry.source].camid
        cameras = f"camera {before}" + (f" to {entry.camid}" if entry.camid != before else "")
        captions.append(f"row {row}: pid {entry.pid}, {cameras}")
    titles = ("source", "pose", "generated", "truth")[: len(rows[0])]
    write_picture(path, sheet(rows, titles, 4, 2, captions, POSE_LEGEND))


def shown_rows(bank: Bank) -> list[int]:
    """The row numbers on the contact sheet, spread evenly over the bank, and so over identities."""
    result: list[int] = (
        np.linspace(0, len(bank) - 1, min(SHEET_ROWS, len(bank))).astype(int).tolist()
    )
    return result
