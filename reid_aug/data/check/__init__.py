"""Check a data set and its key points before hours are spent on them.

An ``error`` is what no experiment should be run with. A ``warning`` is worth knowing: identities
under one camera only, images without a pose, rows that belong to no image.

    faults   an error or a warning, one line each
    images   what can be said without key points: files, names, identities, cameras, copies
    poses    the key-point file, row by row, beside the pictures it speaks of
    overview a picture of crops with their poses, the doubtful ones first
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
    """Count and check: (lines that describe the data set, faults, errors first).

    Args:
        data: folder of the data set.
        keypoints: its key points, where they do not lie with it.
        progress: wraps the list of files, to show how far the decoding is.
        picture: where to draw an overview of crops and poses, if anywhere.

    Raises:
        UserError: If ``data`` is not in Market-1501 layout at all.
    """
    images = Images(dataset_root(data))
    faults = check_images(images, progress)
    path = Path(keypoints) if keypoints else default_keypoints(data)
    poses = check_poses(images, path)
    if picture:
        write_overview(images, poses, picture)
    faults = sorted(faults + poses.faults, key=lambda fault: not fault.is_error)
    return images.counts() + poses.counts, faults
