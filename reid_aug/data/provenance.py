"""What a network has seen: fingerprints of images, and whether a result leaks.

A checkpoint carries the first 12 hex digits of the SHA-256 of every image that trained it, in one
string. That is enough to tell, for any data set under any file names, which of its images it knows.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from reid_aug.data.dataset import Dataset, PersonImage
from reid_aug.data.keypoints import NO_POSE, Pose
from reid_aug.runtime.errors import UserError

STATUSES = ("kept", "external", "whole")
DIGITS = 12  # 48 bits: no clash to be expected below millions of images


def names_sha256(images: Iterable[PersonImage]) -> str:
    """One hash of a set of file names: says whether two kept sets are the same."""
    names = sorted(image.name for image in images)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def content_sha256(images: Iterable[PersonImage]) -> str:
    """One hash of the bytes of a set of images, whatever their names."""
    return hashlib.sha256(fingerprints(images).encode()).hexdigest()


@lru_cache(maxsize=2)  # the same data set is asked for by every cell of a grid
def dataset_sha256(dataset: Dataset) -> str:
    """One hash of all images of a data set."""
    return content_sha256((*dataset.train, *dataset.query, *dataset.gallery))


def keypoints_sha256(images: Iterable[PersonImage], poses: Mapping[str, Pose]) -> str:
    """One hash of the key points of a set of images."""
    digest = hashlib.sha256()
    for image in sorted(images):
        digest.update(f"{image.name}\n".encode())
        digest.update(poses.get(image.name, NO_POSE).xy.astype("<f4").tobytes())
    return digest.hexdigest()


def fingerprints(images: Iterable[PersonImage]) -> str:
    """The fingerprints of a set of images, sorted, in one string: what a checkpoint carries."""
    return "".join(sorted(_fingerprints(images)))


def recorded_fingerprints(notes: Mapping[str, Any]) -> str:
    """The fingerprints that a checkpoint carries; "" where it says nothing, or what is no text."""
    seen = notes.get("trained_on")
    return seen if isinstance(seen, str) else ""


def joined_fingerprints(parts: Iterable[str]) -> str:
    """What several networks or sets have seen together; "" if that of one is not known.

    >>> joined_fingerprints(["0123456789ab", "ba9876543210", "0123456789ab"])
    '0123456789abba9876543210'
    >>> joined_fingerprints(["0123456789ab", ""])
    ''
    """
    parts = list(parts)
    if not all(parts):
        return ""
    whole = "".join(parts)
    return "".join(sorted({whole[i : i + DIGITS] for i in range(0, len(whole), DIGITS)}))


def _fingerprints(images: Iterable[PersonImage]) -> set[str]:
    return {hashlib.sha256(image.path.read_bytes()).hexdigest()[:DIGITS] for image in images}


def leak_status(
    seen: str, dataset: Dataset, real: Sequence[PersonImage], what: str = "generator"
) -> str:
    """What a network knows of this data set: a generator, or one that a training starts from.

    "kept": images of the kept set only. "external": other images, maybe beside kept ones, but
    none that was left out: what was learned elsewhere is no leak. "whole": left-out training images
    too, which is what the published low-data numbers do, and a leak.

    Args:
        seen: the fingerprints of the images that trained it; "" when nobody noted them, which is
            taken for the worst.
        real: the kept set.
        what: what the network is called in an error.

    Raises:
        UserError: If it was trained on test images.
    """
    if not seen:
        return "whole"
    known = {seen[i : i + DIGITS] for i in range(0, len(seen), DIGITS)}
    if known & _fingerprints((*dataset.query, *dataset.gallery)):
        raise UserError(
            f"the {what} was trained on query or gallery images of this data set, so no result "
            f"with it would count; take one that was trained on other images, as the kept ones"
        )
    inside = _fingerprints(real)
    if known & (_fingerprints(dataset.train) - inside):
        return "whole"
    return "kept" if known <= inside else "external"


def is_leak_free(statuses: Iterable[str | None]) -> bool:
    """Whether none of several networks knows left-out images; None stands for no network.

    What is no status is taken for the worst.

    >>> is_leak_free(["kept", None, "external"]), is_leak_free(["kept", "whole"])
    (True, False)
    """
    return all(status in (None, "kept", "external") for status in statuses)
