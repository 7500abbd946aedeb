"""The plan of a bank: who is drawn, from which image, into whose pose.

Rows are in seat order, and what a row draws depends on the seed, its identity and its seat only. So
the rows of a small ratio are the first rows of a large one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from reid_aug.dataset import PersonImage, by_identity, name_hash, seats
from reid_aug.errors import UserError
from reid_aug.poses import NO_POSE, Pose

CAMERAS = ("source", "target")


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
) -> list[Draw]:
    """Who is drawn from which image into whose pose: ``count`` rows in seat order.

    Args:
        images: the kept set.
        poses: key points by file name. Sources need both shoulders and both hips; an identity
            without such an image uses all it has.
        cameras: whose camera a row is drawn under, that of its "source" or of its "target".

    Raises:
        UserError: If no image of the kept set has a pose to draw into.
    """
    targets = sorted(i for i in images if poses.get(i.name, NO_POSE).has_torso)
    if not targets:
        raise UserError(
            f"none of the {len(images)} kept images has key points with both shoulders and both "
            f"hips; give key points with --keypoints FILE"
        )
    usable = set(targets)
    sources = {
        pid: sorted(
            [image for image in group if image in usable] or group,
            key=lambda image: name_hash(seed, f"source/{image.name}"),
        )
        for pid, group in by_identity(images).items()
    }
    counts = {pid: len(group) for pid, group in by_identity(images).items()}
    draws = []
    for pid, seat in islice(seats(counts), count):
        source = sources[pid][seat % len(sources[pid])]
        start = int(name_hash(seed, f"{pid}/{seat}"), 16) % len(targets)
        target = targets[start]
        if target == source:
            target = targets[(start + 1) % len(targets)]
        camid = target.camid if cameras == "target" else source.camid
        draws.append(Draw(source, target, camid, seat))
    return draws


def without_pose(images: Sequence[PersonImage], poses: Mapping[str, Pose]) -> list[int]:
    """The pids that have no image with both shoulders and both hips seen."""
    return [
        pid
        for pid, group in by_identity(images).items()
        if not any(poses.get(image.name, NO_POSE).has_torso for image in group)
    ]
