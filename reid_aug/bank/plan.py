"""The plan of a bank: source image, target pose and camera of each row.

Rows are in seat order. A row depends on the seed, its identity and its seat only, so the rows of a
small ratio are the first rows of a larger one.

Three policies choose the pose. ``random`` takes any usable pose of the kept set, as the paper does.
The other two sort these poses into bins. For each row they choose a bin in which the identity has
the fewest poses so far, over its real images and its earlier seats:

    cross-camera    one bin per camera; the bin of the source's own camera is avoided
    coverage        one bin per cluster of similar poses (:mod:`reid_aug.bank.coverage`)
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from reid_aug.data.dataset import PersonImage, by_identity, name_hash, seats
from reid_aug.data.keypoints import NO_POSE, Pose
from reid_aug.runtime.errors import UserError

ROW_CAMERAS = ("source", "target")
IMPORTED = "imported"  # the policy in the plan of an imported bank
POSE_POLICIES = ("random", "cross-camera", "coverage")


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """One row of the plan: the person of ``source`` in the pose of ``target``."""

    source: PersonImage
    target: PersonImage
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
    clusters: Mapping[PersonImage, int] | None = None,
    needs_poses: bool = True,
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

    Raises:
        UserError: As :func:`usable`.
    """
    targets = usable(images, poses, needs_poses)
    sources = _sources(images, targets, seed)
    bins = _pose_bins(images, targets, seed, policy, clusters)
    counts = {pid: len(group) for pid, group in by_identity(images).items()}
    rows = []
    for pid, seat in islice(seats(counts), count):
        source = sources[pid][seat % len(sources[pid])]
        choice = bins.choose(pid, seat, source) if bins else targets
        start = int(name_hash(seed, f"{pid}/{seat}"), 16) % len(choice)
        target = choice[start]
        if target == source:
            target = choice[(start + 1) % len(choice)]
        camid = target.camid if cameras == "target" else source.camid
        rows.append(PlannedRow(source, target, camid, seat))
    return rows


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
        targets: the images that supply poses.
        counted: the images that count from the start.
        bin_of: the bin of an image; None for an image that belongs to no bin.
        avoids_own: whether a source gets no pose of its own camera's bin while another one is
            available.
    """

    def __init__(
        self,
        targets: Sequence[PersonImage],
        counted: Sequence[PersonImage],
        bin_of: Callable[[PersonImage], int | None],
        seed: int,
        avoids_own: bool,
    ) -> None:
        self.bin_of, self.seed, self.avoids_own = bin_of, seed, avoids_own
        groups: defaultdict[int, list[PersonImage]] = defaultdict(list)
        for image in targets:
            bin = bin_of(image)
            if bin is not None:
                groups[bin].append(image)
        self.bins = dict(sorted(groups.items()))
        self.counts: defaultdict[int, Counter[int | None]] = defaultdict(Counter)
        for image in counted:
            self.counts[image.pid][bin_of(image)] += 1

    def choose(self, pid: int, seat: int, source: PersonImage) -> list[PersonImage]:
        """The images of the bin that supplies the pose of a row; the bin's count rises by one."""
        counts = self.counts[pid]
        candidates = self._candidates(source)
        fewest = min(counts[bin] for bin in candidates)
        least = [bin for bin in candidates if counts[bin] == fewest]
        chosen = min(least, key=lambda bin: name_hash(self.seed, f"{pid}/{seat}/{bin}"))
        counts[chosen] += 1
        return self.bins[chosen]

    def _candidates(self, source: PersonImage) -> list[int]:
        """The bins that hold another image than the source, without its own bin if avoided."""
        others = [bin for bin, images in self.bins.items() if images != [source]]
        if self.avoids_own:
            others = [bin for bin in others if bin != source.camid] or others
        return others or list(self.bins)


def _pose_bins(
    images: Sequence[PersonImage],
    targets: Sequence[PersonImage],
    seed: int,
    policy: str,
    clusters: Mapping[PersonImage, int] | None,
) -> PoseBins | None:
    """The bins of a policy; None for the policy that takes any pose."""
    if policy == "cross-camera":
        return PoseBins(targets, images, lambda image: image.camid, seed, avoids_own=True)
    if policy == "coverage":
        if clusters is None:
            raise ValueError("policy coverage must be given the clusters of the poses")
        return PoseBins(targets, targets, clusters.get, seed, avoids_own=False)
    return None


def without_pose(images: Sequence[PersonImage], poses: Mapping[str, Pose]) -> list[int]:
    """The pids without an image in which both shoulders and both hips are visible."""
    return [
        pid
        for pid, group in by_identity(images).items()
        if not any(poses.get(image.name, NO_POSE).has_torso for image in group)
    ]
