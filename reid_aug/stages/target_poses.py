"""Target poses that do not come from the kept set: of the pose library, or of a keypoint file.

Any format of keypoints is read (:mod:`reid_aug.pose_estimators.files`). A pose carries no image, so
the leak status of a bank does not change. But query, gallery and left-out training images must not
influence a training, so poses with the name of such an image of the data set are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reid_aug.bank.plan import OF_NO_IMAGE, POSE_FILE, GivenPose
from reid_aug.data.dataset import Dataset, PersonImage
from reid_aug.data.keypoints import Pose
from reid_aug.people.pose_library import LIBRARY, library_file
from reid_aug.pose_estimators.files import Estimates, files_sha256, read_pose_files
from reid_aug.pose_estimators.joint_layouts import in_pixels, pose_of
from reid_aug.runtime.errors import UserError

LEAST_CONFIDENCE = 0.2  # of a joint that counts as seen, as estimate-poses has it by default


@dataclass(frozen=True, slots=True)
class TargetPoses:
    """The usable poses of a file, and what identifies it."""

    policy: str
    """``LIBRARY`` or ``POSE_FILE``."""
    path: Path
    sha256: str
    found: int
    """The number of all poses of the file."""
    poses: tuple[GivenPose, ...]
    """The poses that are used, sorted by name: those with both shoulders and both hips."""
    left_out: int
    """The number of poses that are not used, as they have names of images outside the kept set."""

    def describe(self) -> str:
        """The number of poses, the file and its hash, in one line."""
        of = "the pose library" if self.policy == LIBRARY else str(self.path)
        text = (
            f"target poses: {len(self.poses)} usable ones of {self.found} of {of}, SHA-256 "
            f"{self.sha256}; balanced over {len({p.pose.direction for p in self.poses})} directions"
        )
        if self.left_out:
            text += (
                f"; {self.left_out} left out, which have the names of query, gallery or left-out "
                f"training images"
            )
        return text


def read_target_poses(value: str, dataset: Dataset, real: Sequence[PersonImage]) -> TargetPoses:
    """The target poses that ``synthesize.poses`` names: ``LIBRARY`` or the path of a file.

    Args:
        real: the kept set.

    Raises:
        UserError: If the file is missing or in no supported format, or no pose is usable.
    """
    path = library_file() if value == LIBRARY else Path(value)
    if not path.exists():
        raise UserError(
            f"{path} is missing; name a keypoint file with synthesize.poses, or library"
        )
    estimates = read_pose_files(path)
    everything = {i.name for i in (*dataset.train, *dataset.query, *dataset.gallery)}
    outside = everything - {image.name for image in real}
    found = {n: pose_in(estimates, n, path) for n in estimates if n not in outside}
    poses = [GivenPose(f"{OF_NO_IMAGE}{n}", pose) for n, pose in found.items() if pose.has_torso]
    if not poses:
        raise UserError(
            f"{path}: must hold a pose with both shoulders and both hips, of no image outside the "
            f"kept set, got none among {len(estimates)}; choose another file with synthesize.poses"
        )
    policy, left_out = LIBRARY if value == LIBRARY else POSE_FILE, len(estimates) - len(found)
    digest = files_sha256(path)
    return TargetPoses(policy, path, digest, len(estimates), tuple(sorted(poses)), left_out)


def pose_in(
    estimates: Estimates, name: str, path: Path, size: tuple[int, int] | None = None
) -> Pose:
    """The pose of one name of a keypoint file.

    Args:
        estimates: what :func:`reid_aug.pose_estimators.files.read_pose_files` read.
        path: the file, for errors.
        size: (height, width) of the image in pixels, if it is known.

    Raises:
        UserError: If the joints are fractions of an image of unknown size.
    """
    estimate = estimates[name]
    if size is None and estimate.shape[1] > 3:
        raise UserError(
            f"{path}: the joints of {name!r} must be in pixels, got fractions of an image (of "
            f"MediaPipe); convert them beside their images with: reid-aug estimate-poses DATA "
            f"--from {path}"
        )
    return pose_of(in_pixels(estimate, size or (1, 1)), LEAST_CONFIDENCE, size)
