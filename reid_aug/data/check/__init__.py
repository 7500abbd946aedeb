"""Checks of a data set and its keypoints before a long experiment.

An ``error`` makes experiments invalid or impossible. A ``warning`` marks something that may be
intended, for example identities under one camera only, images without a pose, or rows without an
image.

    faults      errors and warnings, one line each
    images      checks without keypoints: files, names, shapes, copies
    identities  identities and cameras
    near_copies images that are nearly equal
    poses       checks of the rows of the keypoint file against the images
    overview    a picture of crops with their poses, doubtful ones first
    mending     a manifest of what is usable
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reid_aug.data.check.faults import Fault
from reid_aug.data.check.images import Images, check_images
from reid_aug.data.check.mending import write_usable
from reid_aug.data.check.overview import write_overview
from reid_aug.data.check.poses import Poses, check_poses
from reid_aug.data.formats import default_keypoints, read_listing

__all__ = ["Fault", "check_dataset"]

CHECK_FORMAT = "reid_aug.check/1"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The results of the checks of a data set."""

    images: Images
    keypoints: Path
    poses: Poses
    faults: list[Fault]
    """Errors first."""

    @property
    def lines(self) -> list[str]:
        """Lines with counts."""
        return self.images.counts() + self.poses.counts

    def record(self) -> dict[str, Any]:
        """Counts and faults as JSON values."""
        return {
            "format": CHECK_FORMAT,
            **self.images.record(),
            "keypoints": {"file": str(self.keypoints), **self.poses.record},
            "errors": sum(fault.is_error for fault in self.faults),
            "warnings": sum(not fault.is_error for fault in self.faults),
            "faults": [
                {
                    "severity": "error" if fault.is_error else "warning",
                    "kind": fault.kind,
                    "text": fault.text,
                    "files": [str(path) for path in fault.files],
                }
                for fault in self.faults
            ],
        }

    def write_usable(self, path: Path) -> str:
        """Write a manifest of what is usable; see :mod:`reid_aug.data.check.mending`."""
        return write_usable(self.images, self.poses, self.faults, path)


def check_dataset(
    data: Path | str,
    keypoints: Path | str | None = None,
    progress: Callable[[Sequence[Path]], Iterable[Path]] = iter,
    picture: Path | None = None,
) -> CheckReport:
    """Check a data set.

    Args:
        data: the data set, in any layout that is read.
        keypoints: keypoint file; None for the one of the data set.
        progress: wraps the list of files, to show the progress of decoding.
        picture: PNG file for an overview of crops and poses; None for no overview.

    Raises:
        UserError: If the layout of ``data`` is not recognised, or no image can be shown in the
            overview.
    """
    images = Images(read_listing(data))
    faults = check_images(images, progress)
    path = Path(keypoints) if keypoints else default_keypoints(data)
    poses = check_poses(images, path)
    if picture:
        write_overview(images, poses, picture)
    faults = sorted(faults + poses.faults, key=lambda fault: not fault.is_error)
    return CheckReport(images, path, poses, faults)
