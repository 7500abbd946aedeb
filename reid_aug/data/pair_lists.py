"""Lists of pairs (source, target) by the published rule, and their file.

The rule: images whose name begins with neither -1 nor 0000 and whose shoulders and hips are seen;
of each identity every ordered pair of two different images, under any cameras. Identities come in
the order of their first row, images in the order of their rows, pairs as ``itertools.permutations``
gives them. All pairs are the training list; the test list is 12,000 of them, drawn as pandas'
``sample(n=12000, random_state=0)`` draws.

So the list depends on the order of the rows of the key-point file. Files with the same content in
another order circulate, and their test lists share 563 of 12,000 pairs: a number belongs to a list,
and :func:`pairs_sha256` names it.

The file is the published one, separated by commas, with the header ``from,to``.
"""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np

from reid_aug.data.keypoints import Pose
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.files import committed

HEADER = ["from", "to"]
LEFT_OUT = ("-1", "0000")
TEST_PAIRS = 12_000

Pair = tuple[str, str]


def all_pairs(poses: Mapping[str, Pose]) -> list[Pair]:
    """Every pair of the images in ``poses``, in the order of the rule.

    >>> shown = Pose(np.zeros((18, 2)))
    >>> all_pairs({"7_c1_b.jpg": shown, "0000_c1.jpg": shown, "7_c2_a.jpg": shown})
    [('7_c1_b.jpg', '7_c2_a.jpg'), ('7_c2_a.jpg', '7_c1_b.jpg')]
    """
    people: dict[str, list[str]] = {}
    for name, pose in poses.items():
        if pose.has_torso and not name.startswith(LEFT_OUT):
            people.setdefault(name.split("_")[0], []).append(name)
    return [pair for names in people.values() for pair in permutations(names, 2)]


def sampled_pairs(poses: Mapping[str, Pose], count: int = TEST_PAIRS, seed: int = 0) -> list[Pair]:
    """``count`` of all pairs, drawn by the published rule; all of them where there are no more.

    Raises:
        UserError: If there is no pair.
    """
    pairs = all_pairs(poses)
    if not pairs:
        raise UserError(
            f"pairs need an identity with two images whose shoulders and hips are known, got none "
            f"among {len(poses)} images",
            Remedy(("check",), words="look at the key points with"),
        )
    if count >= len(pairs):
        return pairs
    chosen = np.random.RandomState(seed).choice(len(pairs), count, replace=False)
    return [pairs[place] for place in chosen]


def read_pairs(path: Path | str) -> list[Pair]:
    """Read a list of pairs of file names.

    Raises:
        UserError: If the file is missing or a line is no pair; the line is named.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is missing; a list of pairs is a CSV file with the header from,to")
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = list(csv.reader(file))
    if not rows or rows[0] != HEADER:
        raise UserError(
            f"{path}: line 1 must be 'from,to', got {','.join(rows[0]) if rows else ''!r}"
        )
    pairs = []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 2 or not all(row):
            found = ",".join(row)[:60]
            raise UserError(f"{path}: line {number}: must be two file names, got {found!r}")
        pairs.append((row[0], row[1]))
    if not pairs:
        raise UserError(f"{path}: must hold a pair, got only the header")
    return pairs


def write_pairs(path: Path | str, pairs: Sequence[Pair]) -> None:
    """Write a list of pairs."""
    with committed(path) as part:
        part.write_text(pairs_text(pairs), encoding="utf-8")


def pairs_text(pairs: Sequence[Pair]) -> str:
    """The content of a file of pairs."""
    return "".join(f"{source},{target}\n" for source, target in [tuple(HEADER), *pairs])


def pairs_sha256(pairs: Sequence[Pair]) -> str:
    """What names a list: the SHA-256 of its file."""
    return hashlib.sha256(pairs_text(pairs).encode()).hexdigest()
