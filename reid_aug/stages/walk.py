"""Write a walk of one person around the circle, as an animated picture and a contact sheet.

The person walks while its direction makes one turn. Phase of the gait and direction change by the
same amount from frame to frame, and the last frame is followed by the first one, so the animation
has no jump. The poses are those of the renderer's mean person
(:func:`reid_aug.people.pose_library.walking_pose`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from reid_aug.data.keypoints import Pose
from reid_aug.data.pictures import POSE_LEGEND, draw_pose, sheet, write_animation, write_picture
from reid_aug.people.pose_library import walking_pose
from reid_aug.runtime.errors import UserError
from reid_aug.stages.cost import Cost
from reid_aug.stages.job import Job, Progress
from reid_aug.stages.person import Person, PoseFinder, open_person
from reid_aug.stages.stage import Stage

FRAMES_PER_CYCLE = 13  # of two steps
FRAME_SECONDS = 0.08
ON_SHEET = 16  # frames on the contact sheet at most
ACROSS_SHEET, SHEET_ZOOM = 6, 2


@dataclass(frozen=True, slots=True)
class WalkConfig:
    """The length and the size of the animation."""

    frames: int = 64
    """Frames of one turn, 8 or more; about 13 of them show two steps."""
    zoom: int = 2
    """Enlargement of a crop, 1 to 8."""

    def __post_init__(self) -> None:
        if self.frames < 8 or not 1 <= self.zoom <= 8:
            raise UserError(
                f"frames must be 8 or more and zoom in 1..8, got {self.frames} and {self.zoom}"
            )


def prepare(
    stage: Stage,
    source: str,
    config: WalkConfig | None = None,
    generator: str | None = None,
    camera: int | None = None,
    estimator: str = "movenet",
    weights: str | None = None,
) -> "WalkJob":
    """Open the person and compute the poses; nothing is written.

    Args:
        source: the file name of an image of the data set, or the path of an image file.
        config: the length and the size; None for the usual ones.
        generator: a checkpoint, or "demo"; None means that of the run folder.
        camera: the camera of the source; None means that of its file name.
        estimator: one of :data:`reid_aug.pose_estimators.ESTIMATORS`.
        weights: the file of its weights; None for no estimator.

    Raises:
        UserError: If the person cannot be found.
    """
    config, finder = config or WalkConfig(), PoseFinder(stage, estimator, weights)
    person = open_person(stage, finder, source, generator, camera)
    cycles = max(1, round(config.frames / FRAMES_PER_CYCLE))
    parts = [frame / config.frames for frame in range(config.frames)]
    poses = tuple(person.posed(walking_pose(part, cycles * part)) for part in parts)
    return WalkJob(person, poses, config, stage.run.path)


@dataclass(frozen=True)
class WalkJob(Job):
    """A walk of one person, ready to be made."""

    person: Person
    poses: tuple[Pose, ...]
    """One per frame, in pixels of the generated size."""
    config: WalkConfig
    folder: Path
    """The run folder."""

    @property
    def path(self) -> Path:
        """The animated picture."""
        return self.folder / "walks" / f"{self.person.stem}.gif"

    @property
    def sheet(self) -> Path:
        """The contact sheet."""
        return self.path.with_suffix(".png")

    def describe(self) -> str:
        """The person, the number of frames and the generator."""
        person = self.person
        return (
            f"{person.name} on a walk around the circle in {len(self.poses)} frames, by generator "
            f"{person.checkpoint}"
        )

    def cost(self, device: torch.device) -> Cost:
        """Time, from the first frame, and the size of the frames without compression."""
        return self.person.cost(self.poses, self.config.zoom)

    def run(self, progress: Progress | None = None) -> Path:
        """Write animation and contact sheet into the run folder; the path of the animation."""
        person, size = self.person, self.person.size
        images = person.generate(self.poses, progress)
        figures = [draw_pose(pose, *size) for pose in self.poses]
        frames = [np.hstack(each) for each in zip(figures, images, strict=True)]
        own = draw_pose(person.own_pose(), *size), person.image()
        count = min(ON_SHEET, len(frames))
        shown = [len(frames) * place // count for place in range(count)]
        captions = [f"source: {person.name}"]
        captions += [f"{360 * frame / len(frames):.0f} degrees" for frame in shown]
        rows = [own, *((figures[frame], images[frame]) for frame in shown)]
        titles = ("pose", "image")
        picture = sheet(rows, titles, ACROSS_SHEET, SHEET_ZOOM, captions, POSE_LEGEND)
        write_picture(self.sheet, picture)
        write_animation(self.path, frames, FRAME_SECONDS, self.config.zoom)
        return self.path

    def outcome(self) -> str:
        """Where the contact sheet is."""
        return f"contact sheet: {self.sheet}"
