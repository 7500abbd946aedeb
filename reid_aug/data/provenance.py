"""Provenance: fingerprints of training images, and the leak status of a network.

A checkpoint stores a fingerprint of every image that trained it: the first 12 hexadecimal digits of
the SHA-256 of the file. The fingerprints are joined into one string. They identify the training
images in any data set, whatever the file names.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any

from reid_aug.data.dataset import Dataset, PersonImage
from reid_aug.data.keypoints import NO_POSE, Pose
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256

DIGITS = 12  # 48 bits: no collision is expected below millions of images


class LeakStatus(StrEnum):
    """Which images of a data set trained a network, relative to the kept set.

    The members are ordered from the most to the least harmless.
    """

    KEPT = "kept"
    """Images of the kept set only."""

    EXTERNAL = "external"
    """Images of other data sets, possibly with kept images, but no left-out training image.

    Knowledge from other data is not a leak.
    """

    WHOLE = "whole"
    """Left-out training images too, or unknown images.

    This is a leak. The published low-data results have this status.
    """

    @property
    def is_leak_free(self) -> bool:
        """Whether the network was trained without left-out images."""
        return self is not LeakStatus.WHOLE

    @property
    def explained(self) -> str:
        """The status with the images that it stands for, for outputs.

        >>> LeakStatus.EXTERNAL.explained
        'external (other data, with or without kept images)'
        """
        images = {
            LeakStatus.KEPT: "kept images only",
            LeakStatus.EXTERNAL: "other data, with or without kept images",
            LeakStatus.WHOLE: "left-out images too, or unrecorded ones: not leak-free",
        }
        return f"{self.value} ({images[self]})"

    @classmethod
    def read(cls, value: object) -> "LeakStatus":
        """The status that ``value`` names; ``WHOLE``, the worst case, if it names none.

        >>> LeakStatus.read("kept"), LeakStatus.read("Kept")
        (<LeakStatus.KEPT: 'kept'>, <LeakStatus.WHOLE: 'whole'>)
        """
        known = {status.value: status for status in cls}
        return known.get(value, cls.WHOLE) if isinstance(value, str) else cls.WHOLE

    @classmethod
    def combined(cls, statuses: Iterable[str | None]) -> "LeakStatus":
        """The status of several networks together, which is the worst of theirs.

        Args:
            statuses: one per network, read by :meth:`read`. None stands for no network and is
                ignored. Without a network the result is ``KEPT``.

        >>> LeakStatus.combined(["external", None, "kept"])
        <LeakStatus.EXTERNAL: 'external'>
        """
        known = [cls.read(status) for status in statuses if status is not None]
        return max(known, key=list(cls).index, default=cls.KEPT)


STATUSES = tuple(status.value for status in LeakStatus)


def require_status(status: str, what: str) -> None:
    """Raise a UserError about ``what`` unless ``status`` is a leak status."""
    if status not in STATUSES:
        raise UserError(f"{what} must be one of {', '.join(STATUSES)}, got {status!r}")


def names_sha256(images: Iterable[PersonImage]) -> str:
    """SHA-256 of the sorted file names of ``images``; equal for equal kept sets."""
    names = sorted(image.name for image in images)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def content_sha256(images: Iterable[PersonImage]) -> str:
    """SHA-256 of the contents of ``images``, independent of their names and order."""
    return hashlib.sha256(fingerprints(images).encode()).hexdigest()


@lru_cache(maxsize=2)  # every cell of a grid needs the hash of the same data set
def dataset_sha256(dataset: Dataset) -> str:
    """SHA-256 of the contents of all images of a data set."""
    return content_sha256((*dataset.train, *dataset.query, *dataset.gallery))


def require_unchanged(dataset: Dataset, digest: str) -> None:
    """Read all images again, and raise a UserError unless they still have this hash."""
    everything = (*dataset.train, *dataset.query, *dataset.gallery)
    if content_sha256(everything) != digest:
        raise UserError(
            f"{everything[0].path.parents[1]}: images were changed while they were in use; bring "
            f"them back, then run the same command again"
        )


def keypoints_sha256(images: Iterable[PersonImage], poses: Mapping[str, Pose]) -> str:
    """SHA-256 of the names and keypoints of ``images``, in sorted order."""
    digest = hashlib.sha256()
    for image in sorted(images):
        digest.update(f"{image.name}\n".encode())
        digest.update(poses.get(image.name, NO_POSE).xy.astype("<f4").tobytes())
    return digest.hexdigest()


def fingerprints(images: Iterable[PersonImage]) -> str:
    """The sorted fingerprints of ``images`` in one string, as a checkpoint stores them."""
    return "".join(sorted(_fingerprints(images)))


def recorded_fingerprints(metadata: Mapping[str, Any]) -> str:
    """The fingerprints in the metadata of a checkpoint; "" if they are missing or not a string."""
    trained_on = metadata.get("trained_on")
    return trained_on if isinstance(trained_on, str) else ""


def joined_fingerprints(parts: Iterable[str]) -> str:
    """The union of several strings of fingerprints; "" if any of them is empty, thus unknown.

    >>> joined_fingerprints(["0123456789ab", "ba9876543210", "0123456789ab"])
    '0123456789abba9876543210'
    >>> joined_fingerprints(["0123456789ab", ""])
    ''
    """
    parts = list(parts)
    return "".join(sorted(_split("".join(parts)))) if all(parts) else ""


def _split(text: str) -> set[str]:
    return {text[i : i + DIGITS] for i in range(0, len(text), DIGITS)}


def _fingerprints(images: Iterable[PersonImage]) -> set[str]:
    return {sha256(image.path)[:DIGITS] for image in images}


def leak_status(
    trained_on: str, dataset: Dataset, real: Sequence[PersonImage], what: str = "generator"
) -> str:
    """The :class:`LeakStatus` of a network for this data set and kept set, as a plain string.

    It is a plain string because HDF5 attributes accept no enumeration.

    Args:
        trained_on: the fingerprints of the images that trained the network; "" if they are unknown,
            which counts as the worst case, ``WHOLE``.
        real: the kept set.
        what: the name of the network in error messages.

    Raises:
        UserError: If the network was trained on test images.
    """
    if not trained_on:
        return LeakStatus.WHOLE.value
    images = _split(trained_on)
    if images & _fingerprints((*dataset.query, *dataset.gallery)):
        raise UserError(
            f"the {what} was trained on query or gallery images of this data set, so no result "
            f"with it is valid; use one that was trained on other images, for example the kept ones"
        )
    kept = _fingerprints(real)
    if images & (_fingerprints(dataset.train) - kept):
        return LeakStatus.WHOLE.value
    return (LeakStatus.KEPT if images <= kept else LeakStatus.EXTERNAL).value


def is_leak_free(statuses: Iterable[str | None]) -> bool:
    """Whether none of several networks was trained on left-out images.

    Args:
        statuses: as for :meth:`LeakStatus.combined`.

    >>> is_leak_free(["kept", None, "external"]), is_leak_free(["kept", "whole"])
    (True, False)
    """
    return LeakStatus.combined(statuses).is_leak_free
