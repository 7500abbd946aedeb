"""The plan of a bank: source image, target pose and camera of each row.

Rows are in seat order. A row depends on the seed, its identity and its seat only, so the rows of a
small ratio are the first rows of a larger one.

Three policies choose the pose. ``random`` takes any usable pose of the kept set, as the paper does.
The other two sort these poses into bins. For each row they choose a bin in which the identity has
the fewest poses so far, over its real images and its earlier seats:

    cross-camera    one bin per camera; the bin of the source's own camera is avoided
    coverage        one bin per cluster of similar poses (:mod:`reid_aug.bank.coverage`)

Given poses, of the pose library or of a keypoint file, take the place of those of the kept set.
They have one bin per direction (:attr:`reid_aug.data.keypoints.Pose.direction`), and only earlier
seats count: the generated images of an identity show it equally often from every direction.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from reid_aug.data.dataset import PersonImage, by_identity, name_hash, seats
from reid_aug.data.keypoints import DIRECTIONS, NO_POSE, Pose
from reid_aug.runtime.errors import UserError

ROW_CAMERAS = ("source", "target")
IMPORTED = "imported"  # the policy in the plan of an imported bank
POSE_POLICIES = ("random", "cross-camera", "coverage")
POSE_FILE = "file"  # the policy in the plan of a bank with the poses of a keypoint file
OF_NO_IMAGE = "pose:"  # begins the name of a given pose in the column ``target``


@dataclass(frozen=True, slots=True, order=True)
class GivenPose:
    """A target pose that belongs to no image of the data set."""

    name: str
    """``OF_NO_IMAGE`` and the name of the pose in its keypoint file."""
    pose: Pose = field(compare=False)
    """Shoulders and hips are seen; the unit of length is free."""


Target = PersonImage | GivenPose


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """One row of the plan: the person of ``source`` in the pose of ``target``."""

    source: PersonImage
    target: Target
    camid: int
    """The camera that the generated image shows."""
    seat: int
    """The number of this row among the rows of its identity, counted from 0."""


def plan(
    images: Sequence[PersonImage],
    poses: Mapping[str, Pose],
    count: int,
    seed: int,
    cameras: str = "source",
    policy: str = "random",
    clusters: Mapping[Target, int] | None = None,
    needs_poses: bool = True,
    given: Sequence[GivenPose] = (),
) -> list[PlannedRow]:
    """The source, the target and the camera of ``count`` rows, in seat order.

    Args:
        images: the kept set.
        poses: keypoints by file name. A source needs both shoulders and both hips; an identity
            without such an image uses all of its images.
        cameras: the camera of a row: that of its "source" or of its "target".
        policy: one of ``POSE_POLICIES``.
        clusters: the cluster of every usable image; required for policy "coverage".
        needs_poses: as for :func:`usable`.
        given: the target poses; empty for the poses of the kept set, which ``policy`` chooses from.

    Raises:
        UserError: As :func:`usable`.
    """
    own = usable(images, poses, needs_poses)
    targets: Sequence[Target] = sorted(given) or own
    sources = _sources(images, own, seed)
    if given:
        bins: PoseBins | None = PoseBins(targets, (), _direction, seed, avoids_own=False)
    else:
        bins = _pose_bins(images, own, seed, policy, clusters)
    counts = {pid: len(group) for pid, group in by_identity(images).items()}
    rows = []
    for pid, seat in islice(seats(counts), count):
        source = sources[pid][seat % len(sources[pid])]
        choice = bins.choose(pid, seat, source) if bins else targets
        start = int(name_hash(seed, f"{pid}/{seat}"), 16) % len(choice)
        target = choice[start]
        if target == source:
            target = choice[(start + 1) % len(choice)]
        camid = _camera(cameras, source, target)
        rows.append(PlannedRow(source, target, camid, seat))
    return rows


def _camera(cameras: str, source: PersonImage, target: Target) -> int:
    """The camera of a row."""
    return source.camid if cameras == "source" else image_of(target).camid


def image_of(target: Target) -> PersonImage:
    """The image that gives the pose.

    Raises:
        ValueError: If it is a given pose, which belongs to no image.
    """
    if isinstance(target, GivenPose):
        raise ValueError(f"{target.name} must be a pose of an image: it has no camera, no pixels")
    return target


def with_torso(images: Sequence[PersonImage], poses: Mapping[str, Pose]) -> list[PersonImage]:
    """The images in which both shoulders and both hips are visible, sorted."""
    return sorted(i for i in images if poses.get(i.name, NO_POSE).has_torso)


def usable(
    images: Sequence[PersonImage], poses: Mapping[str, Pose], needs_poses: bool = True
) -> list[PersonImage]:
    """The images whose pose can be a target, sorted: both shoulders and both hips are visible.

    Args:
        needs_poses: whether the poses are used; if they are not, all images fit if none has one.

    Raises:
        UserError: If there is none.
    """
    targets = with_torso(images, poses)
    if not targets and not needs_poses:
        return sorted(images)
    if not targets:
        raise UserError(
            f"none of the {len(images)} kept images has keypoints with both shoulders and both "
            f"hips; give keypoints with --keypoints FILE"
        )
    return targets


def _sources(
    images: Sequence[PersonImage], targets: Sequence[PersonImage], seed: int
) -> dict[int, list[PersonImage]]:
    """The source images of each identity, in the order of use."""
    fit = set(targets)
    return {
        pid: sorted(
            [image for image in group if image in fit] or group,
            key=lambda image: name_hash(seed, f"source/{image.name}"),
        )
        for pid, group in by_identity(images).items()
    }


class PoseBins:
    """The poses of the kept set in bins, and the number of poses per identity and bin so far.

    Args:
        targets: the images or given poses that supply poses.
        counted: the images that count from the start.
        bin_of: the bin of a target or an image; None for one that belongs to no bin.
        avoids_own: whether a source gets no pose of its own camera's bin while another one is
            available.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        counted: Sequence[PersonImage],
        bin_of: Callable[[Any], int | None],
        seed: int,
        avoids_own: bool,
    ) -> None:
        self.bin_of, self.seed, self.avoids_own = bin_of, seed, avoids_own
        groups: defaultdict[int, list[Target]] = defaultdict(list)
        for target in targets:
            bin = bin_of(target)
            if bin is not None:
                groups[bin].append(target)
        self.bins = dict(sorted(groups.items()))
        self.counts: defaultdict[int, Counter[int | None]] = defaultdict(Counter)
        for image in counted:
            self.counts[image.pid][bin_of(image)] += 1

    def choose(self, pid: int, seat: int, source: PersonImage) -> Sequence[Target]:
        """The targets of the bin that supplies the pose of a row; the bin's count rises by one."""
        counts = self.counts[pid]
        candidates = self._candidates(source)
        fewest = min(counts[bin] for bin in candidates)
        least = [bin for bin in candidates if counts[bin] == fewest]
        chosen = min(least, key=lambda bin: name_hash(self.seed, f"{pid}/{seat}/{bin}"))
        counts[chosen] += 1
        return self.bins[chosen]

    def _candidates(self, source: PersonImage) -> list[int]:
        """The bins that hold another image than the source, without its own bin if avoided."""
        others = [bin for bin, targets in self.bins.items() if targets != [source]]
        if self.avoids_own:
            others = [bin for bin in others if bin != source.camid] or others
        return others or list(self.bins)


def _pose_bins(
    images: Sequence[PersonImage],
    targets: Sequence[PersonImage],
    seed: int,
    policy: str,
    clusters: Mapping[Target, int] | None,
) -> PoseBins | None:
    """The bins of a policy; None for the policy that takes any pose."""
    if policy == "cross-camera":
        return PoseBins(targets, images, lambda image: image.camid, seed, avoids_own=True)
    if policy == "coverage":
        if clusters is None:
            raise ValueError("policy coverage must be given the clusters of the poses")
        return PoseBins(targets, targets, clusters.get, seed, avoids_own=False)
    return None


def _direction(given: GivenPose) -> int:
    """The bin of a given pose."""
    return DIRECTIONS.index(given.pose.direction)


def without_pose(images: Sequence[PersonImage], poses: Mapping[str, Pose]) -> list[int]:
    """The pids without an image in which both shoulders and both hips are visible."""
    return [
        pid
        for pid, group in by_identity(images).items()
        if not any(poses.get(image.name, NO_POSE).has_torso for image in group)
    ]
