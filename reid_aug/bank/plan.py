"""The plan of a bank: who is drawn, from which image, into whose pose.

Rows are in seat order, and what a row draws depends on the seed, its identity and its seat only. So
the rows of a small ratio are the first rows of a large one.

Three policies choose the pose. ``random`` takes any usable pose of the kept set, as the paper does.
The other two sort those poses onto bins and give an identity, seat by seat, a pose from the
bin that it has been seen on least, in real images and in earlier seats:

    cross-camera    a bin a camera, and never the source's own
    coverage        a bin a cluster of similar poses (:mod:`reid_aug.bank.coverage`)
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from reid_aug.data.dataset import PersonImage, by_identity, name_hash, seats
from reid_aug.data.keypoints import NO_POSE, Pose
from reid_aug.runtime.errors import UserError

CAMERAS = ("source", "target")
IMPORTED = "imported"  # the poses of a bank that others drew
POLICIES = ("random", "cross-camera", "coverage")


@dataclass(frozen=True, slots=True)
class Draw:
    """One row of the plan: the person of ``source`` in the pose of ``target``.

    ``camid`` is the camera whose look is drawn; ``seat`` counts the rows of an identity from 0.
    """

    source: PersonImage
    target: PersonImage
    camid: int
    seat: int


def plan(
    images: Sequence[PersonImage],
    poses: Mapping[str, Pose],
    count: int,
    seed: int,
    cameras: str = "source",
    policy: str = "random",
    clusters: Mapping[PersonImage, int] | None = None,
) -> list[Draw]:
    """Who is drawn from which image into whose pose: ``count`` rows in seat order.

    Args:
        images: the kept set.
        poses: key points by file name. Sources need both shoulders and both hips; an identity
            without such an image uses all it has.
        cameras: whose camera a row is drawn under, that of its "source" or of its "target".
        policy: one of ``POLICIES``.
        clusters: the cluster of every usable image, which policy "coverage" needs.

    Raises:
        UserError: If no image of the kept set has a pose to draw into.
    """
    targets = usable(images, poses)
    sources = _sources(images, targets, seed)
    bins = _shelves(images, targets, seed, policy, clusters)
    counts = {pid: len(group) for pid, group in by_identity(images).items()}
    draws = []
    for pid, seat in islice(seats(counts), count):
        source = sources[pid][seat % len(sources[pid])]
        choice = bins.choose(pid, seat, source) if bins else targets
        start = int(name_hash(seed, f"{pid}/{seat}"), 16) % len(choice)
        target = choice[start]
        if target == source:
            target = choice[(start + 1) % len(choice)]
        camid = target.camid if cameras == "target" else source.camid
        draws.append(Draw(source, target, camid, seat))
    return draws


def usable(images: Sequence[PersonImage], poses: Mapping[str, Pose]) -> list[PersonImage]:
    """The images whose pose can be drawn into, sorted: both shoulders and both hips are seen.

    Raises:
        UserError: If there is none.
    """
    targets = sorted(i for i in images if poses.get(i.name, NO_POSE).has_torso)
    if not targets:
        raise UserError(
            f"none of the {len(images)} kept images has key points with both shoulders and both "
            f"hips; give key points with --keypoints FILE"
        )
    return targets


def _sources(
    images: Sequence[PersonImage], targets: Sequence[PersonImage], seed: int
) -> dict[int, list[PersonImage]]:
    """What each identity is drawn from, one image after the other."""
    fit = set(targets)
    return {
        pid: sorted(
            [image for image in group if image in fit] or group,
            key=lambda image: name_hash(seed, f"source/{image.name}"),
        )
        for pid, group in by_identity(images).items()
    }


class Shelves:
    """The poses of the kept set on bins, and how often each identity was seen on each.

    Args:
        targets: the images that give poses.
        seen: the images that count as seen from the start.
        bin_of: the bin of an image; None for one that stands on none.
        spares_own: whether a source never gets a pose of its own bin, where there is another.
    """

    def __init__(
        self,
        targets: Sequence[PersonImage],
        seen: Sequence[PersonImage],
        bin_of: Callable[[PersonImage], int | None],
        seed: int,
        spares_own: bool,
    ) -> None:
        self.bin_of, self.seed, self.spares_own = bin_of, seed, spares_own
        groups: defaultdict[int, list[PersonImage]] = defaultdict(list)
        for image in targets:
            bin = bin_of(image)
            if bin is not None:
                groups[bin].append(image)
        self.bins = dict(sorted(groups.items()))
        self.seen: defaultdict[int, Counter[int | None]] = defaultdict(Counter)
        for image in seen:
            self.seen[image.pid][bin_of(image)] += 1

    def choose(self, pid: int, seat: int, source: PersonImage) -> list[PersonImage]:
        """The bin that a row takes its pose from; it counts as seen from now on."""
        seen = self.seen[pid]
        open_ = self._open(source)
        fewest = min(seen[bin] for bin in open_)
        least = [bin for bin in open_ if seen[bin] == fewest]
        chosen = min(least, key=lambda bin: name_hash(self.seed, f"{pid}/{seat}/{bin}"))
        seen[chosen] += 1
        return self.bins[chosen]

    def _open(self, source: PersonImage) -> list[int]:
        """The bins that hold something other than the source, its own left out if spared."""
        others = [bin for bin, images in self.bins.items() if images != [source]]
        if self.spares_own:
            others = [bin for bin in others if bin != source.camid] or others
        return others or list(self.bins)


def _shelves(
    images: Sequence[PersonImage],
    targets: Sequence[PersonImage],
    seed: int,
    policy: str,
    clusters: Mapping[PersonImage, int] | None,
) -> Shelves | None:
    """The bins of a policy; None where any pose will do."""
    if policy == "cross-camera":
        return Shelves(targets, images, lambda image: image.camid, seed, spares_own=True)
    if policy == "coverage":
        if clusters is None:
            raise ValueError("policy coverage must be given the clusters of the poses")
        return Shelves(targets, targets, clusters.get, seed, spares_own=False)
    return None


def without_pose(images: Sequence[PersonImage], poses: Mapping[str, Pose]) -> list[int]:
    """The pids that have no image with both shoulders and both hips seen."""
    return [
        pid
        for pid, group in by_identity(images).items()
        if not any(poses.get(image.name, NO_POSE).has_torso for image in group)
    ]
