"""Checks of a data set and its keypoints before a long experiment.

An ``error`` makes experiments invalid or impossible. A ``warning`` marks something that may be
intended, for example identities under one camera only, images without a pose, or rows without an
image.

    faults   errors and warnings, one line each
    images   checks without keypoints: files, names, identities, cameras, copies
    poses    checks of the rows of the keypoint file against the images
    overview a picture of crops with their poses, doubtful ones first
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from reid_aug.data.check.faults import Fault
from reid_aug.data.check.images import Images, check_images
from reid_aug.data.check.overview import write_overview
from reid_aug.data.check.poses import check_poses
from reid_aug.data.dataset import dataset_root, default_keypoints

__all__ = ["Fault", "check_dataset"]


def check_dataset(
    data: Path | str,
    keypoints: Path | str | None,
    progress: Callable[[Sequence[Path]], Iterable[Path]] = iter,
    picture: Path | None = None,
) -> tuple[list[str], list[Fault]]:
    """Check a data set; return lines with counts, and faults with errors first.

    Args:
        data: folder of the data set.
        keypoints: keypoint file; None for the one in the folder of the data set.
        progress: wraps the list of files, to show the progress of decoding.
        picture: PNG file for an overview of crops and poses; None for no overview.

    Raises:
        UserError: If ``data`` is not in Market-1501 layout, or no image can be shown in the
            overview.
    """
    images = Images(dataset_root(data))
    faults = check_images(images, progress)
    path = Path(keypoints) if keypoints else default_keypoints(data)
    poses = check_poses(images, path)
    if picture:
        write_overview(images, poses, picture)
    faults = sorted(faults + poses.faults, key=lambda fault: not fault.is_error)
    return images.counts() + poses.counts, faults
