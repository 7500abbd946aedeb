"""Lists of pairs (source, target) by the published rule, and their file format.

The rule uses the images whose name begins with neither -1 nor 0000 and whose shoulders and hips are
seen. For each identity, it gives every ordered pair of two different images, from any cameras.
Identities are in the order of their first row, images in the order of their rows, and pairs in the
order of ``itertools.permutations``. The training list contains all pairs. The test list contains
12,000 of them, sampled as by ``sample(n=12000, random_state=0)`` of pandas.

The list therefore depends on the order of the rows in the keypoint file. There are public files
with the same rows in different orders, and their test lists share only 563 of 12,000 pairs. A
result is valid only for its list, which :func:`pairs_sha256` identifies.

The file has the published format: CSV with the header ``from,to``.
"""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np

from reid_aug.data.dataset import DISTRACTOR, JUNK
from reid_aug.data.keypoints import Pose
from reid_aug.runtime.csv_rows import read_rows
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.files import committed

PAIR_HEADER = ["from", "to"]
LEFT_OUT_PIDS = ("-1", "0000")
TEST_PAIRS = 12_000

Pair = tuple[str, str]


def all_pairs(poses: Mapping[str, Pose], pids: Mapping[str, int] | None = None) -> list[Pair]:
    """All pairs of the images in ``poses``, in the order of the rule.

    Args:
        pids: the pid of every image, in a data set whose file names do not begin with it.

    >>> pose = Pose(np.zeros((18, 2)))
    >>> all_pairs({"7_c1_b.jpg": pose, "0000_c1.jpg": pose, "7_c2_a.jpg": pose})
    [('7_c1_b.jpg', '7_c2_a.jpg'), ('7_c2_a.jpg', '7_c1_b.jpg')]
    """
    people: dict[str | int, list[str]] = {}
    for name, pose in poses.items():
        pid = name.split("_")[0] if pids is None else pids[name]
        is_left_out = name.startswith(LEFT_OUT_PIDS) if pids is None else pid in (JUNK, DISTRACTOR)
        if pose.has_torso and not is_left_out:
            people.setdefault(pid, []).append(name)
    return [pair for names in people.values() for pair in permutations(names, 2)]


def sampled_pairs(
    poses: Mapping[str, Pose],
    count: int = TEST_PAIRS,
    seed: int = 0,
    pids: Mapping[str, int] | None = None,
) -> list[Pair]:
    """Sample ``count`` of all pairs by the published rule; return all if there are not more.

    Raises:
        UserError: If there is no pair.
    """
    pairs = all_pairs(poses, pids)
    if not pairs:
        raise UserError(
            f"pairs need an identity with two images whose shoulders and hips are known, got none "
            f"in {len(poses)} images",
            Remedy(("check", "DATA"), words="check the keypoints with"),
        )
    if count >= len(pairs):
        return pairs
    chosen = np.random.RandomState(seed).choice(len(pairs), count, replace=False)
    return [pairs[place] for place in chosen]


def read_pairs(path: Path | str) -> list[Pair]:
    """Read a list of pairs of file names.

    Raises:
        UserError: If the file is missing or has no pair, or a line is malformed; the message
            contains the line number.
    """
    rows = read_rows(path, "give a CSV file with the header from,to")
    if not rows or rows[0] != PAIR_HEADER:
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
        raise UserError(f"{path}: must contain a pair, got only the header")
    return pairs


def write_pairs(path: Path | str, pairs: Sequence[Pair]) -> None:
    """Write a list of pairs atomically."""
    with committed(path) as part:
        part.write_text(pairs_text(pairs), encoding="utf-8")


def pairs_text(pairs: Sequence[Pair]) -> str:
    """The content of the file of a list of pairs."""
    return "".join(f"{source},{target}\n" for source, target in [tuple(PAIR_HEADER), *pairs])


def pairs_sha256(pairs: Sequence[Pair]) -> str:
    """The SHA-256 of the file of a list of pairs, which identifies the list."""
    return hashlib.sha256(pairs_text(pairs).encode()).hexdigest()
