"""Write a picture of one person in given poses.

A pose is a name of the pose library (:mod:`reid_aug.people.pose_library`), or the beginning of
names as "walk/3"; a name in the keypoint file of the stage; or an image file, whose pose is found
as that of the person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from reid_aug.data.dataset import open_image
from reid_aug.data.keypoints import DIRECTIONS, Pose
from reid_aug.data.pictures import POSE_LEGEND, draw_pose, sheet, write_picture
from reid_aug.people.pose_library import library_poses
from reid_aug.runtime.errors import UserError
from reid_aug.stages.cost import Cost
from reid_aug.stages.job import Job, Progress
from reid_aug.stages.person import Person, PoseFinder, open_person
from reid_aug.stages.stage import Stage

ACROSS, ZOOM = 6, 2  # pairs of pose and image per line, and the enlargement of a crop


def prepare(
    stage: Stage,
    source: str,
    poses: Sequence[str],
    generator: str | None = None,
    camera: int | None = None,
    estimator: str = "movenet",
    weights: str | None = None,
) -> "PoseJob":
    """Open the person and find the poses; nothing is written.

    Args:
        source: the file name of an image of the data set, or the path of an image file.
        poses: names or image files.
        generator: a checkpoint, or "demo"; None means that of the run folder.
        camera: the camera of the source; None means that of its file name.
        estimator: one of :data:`reid_aug.pose_estimators.ESTIMATORS`.
        weights: the file of its weights; None for no estimator.

    Raises:
        UserError: If the person or a pose cannot be found.
    """
    finder = PoseFinder(stage, estimator, weights)
    person = open_person(stage, finder, source, generator, camera)
    found = {name: pose for text in poses for name, pose in _found(text, finder).items()}
    placed = {name: person.posed(pose) for name, pose in found.items()}
    return PoseJob(person, placed, stage.run.path)


def _found(text: str, finder: PoseFinder) -> dict[str, Pose]:
    """The poses that one word of the command means, by name."""
    library = library_poses()
    known = [name for name in library if name == text or name.startswith(f"{text}/")]
    if known:
        return {name: library[name] for name in sorted(known, key=_around_the_circle)}
    pose = finder.named(text)
    if pose is None and Path(text).is_file():
        pose = finder.of_image(Path(text).name, open_image(Path(text)))
    if pose is None:
        raise UserError(
            f"{text}: POSE must be a name of the pose library, as walk/3/front or walk/3, a name "
            f"in {finder.path}, or an image file, got none of them"
        )
    if not pose.has_torso:
        raise UserError(f"{text}: POSE must have both shoulders and both hips; choose another")
    return {text: pose}


def _around_the_circle(name: str) -> tuple[str, int]:
    """The key that sorts the poses of a posture by their direction."""
    posture, _, direction = name.rpartition("/")
    return posture, DIRECTIONS.index(direction)


@dataclass(frozen=True)
class PoseJob(Job):
    """A picture of one person in given poses, ready to be made."""

    person: Person
    poses: Mapping[str, Pose]
    """By name, in pixels of the generated size."""
    folder: Path
    """The run folder."""

    @property
    def path(self) -> Path:
        """The picture."""
        return self.folder / "poses" / f"{self.person.stem}.png"

    def describe(self) -> str:
        """The person, the number of poses and the generator."""
        person = self.person
        return f"{person.name} in {len(self.poses)} poses, by generator {person.checkpoint}"

    def cost(self, device: torch.device) -> Cost:
        """Time, from the first pose, and the size of the picture without compression."""
        return self.person.cost([*self.poses.values()], ZOOM)

    def run(self, progress: Progress | None = None) -> Path:
        """Write the picture into the run folder; its path."""
        person, size = self.person, self.person.size
        rows = [[draw_pose(person.own_pose(), *size), person.image()]]
        poses = [*self.poses.values()]
        images = person.generate(poses, progress)
        rows += [[draw_pose(p, *size), image] for p, image in zip(poses, images, strict=True)]
        captions = [f"source: {person.name}", *self.poses]
        picture = sheet(rows, ("pose", "image"), ACROSS, ZOOM, captions, POSE_LEGEND)
        write_picture(self.path, picture)
        return self.path
