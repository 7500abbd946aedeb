"""One person: its image, pose and camera, and its generated images in other poses.

The person is an image of the data set, by its file name, or any image file. Its keypoints are those
of the keypoint file of the stage, in any format that is read, or a pose estimator finds them.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_aug.bank.methods.base import posed_in
from reid_aug.data.dataset import NO_CAMERA, PersonImage, open_image, parse_name, resize
from reid_aug.data.keypoints import Pose
from reid_aug.generator import GeneratorNetwork, generate, load_with_metadata
from reid_aug.pose_estimators import open_estimator
from reid_aug.pose_estimators.files import read_pose_files
from reid_aug.runtime.errors import UserError, nearest
from reid_aug.runtime.progress import track
from reid_aug.stages.cost import Cost
from reid_aug.stages.estimate_poses import estimated_pose
from reid_aug.stages.job import Progress
from reid_aug.stages.stage import Stage
from reid_aug.stages.target_poses import LEAST_CONFIDENCE, pose_in

AT_ONCE = 16  # images that are generated in one batch


class PoseFinder:
    """Finds poses: by name in the keypoint file of a stage, or in an image by an estimator.

    Args:
        stage: the keypoint file need not exist.
        estimator: one of :data:`reid_aug.pose_estimators.ESTIMATORS`.
        weights: the file of its weights; None for no estimator.

    Raises:
        UserError: If a file cannot be read.
    """

    def __init__(self, stage: Stage, estimator: str, weights: str | None) -> None:
        self.path = stage.keypoints
        self.estimates = read_pose_files(self.path) if self.path.exists() else {}
        self.estimator = open_estimator(estimator, weights) if weights else None

    def named(self, name: str, size: tuple[int, int] | None = None) -> Pose | None:
        """The pose of a name in the keypoint file; None if it has none.

        Args:
            size: (height, width) of the image in pixels, if it is known.
        """
        if name not in self.estimates:
            return None
        return pose_in(self.estimates, name, self.path, size)

    def of_image(self, name: str, pixels: np.ndarray) -> Pose:
        """The pose of an image (H, W, 3) uint8 with shoulders and hips, in pixels.

        Raises:
            UserError: If it has none.
        """
        height, width = pixels.shape[:2]
        pose = self.named(name, (height, width))
        if pose is None and self.estimator:
            pose = estimated_pose(self.estimator, pixels, LEAST_CONFIDENCE)
        if pose is None:
            raise UserError(
                f"{name}: must have keypoints in {self.path}, got none; name its keypoint file "
                f"with --keypoints FILE, or weights of a pose estimator with --weights FILE"
            )
        if not pose.has_torso:
            raise UserError(
                f"{name}: both shoulders and both hips must be seen, got {int(pose.seen.sum())} "
                f"joints without these four; choose another image"
            )
        return pose


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """A person and the generator that poses it."""

    name: str
    pixels: np.ndarray
    """The image, (H, W, 3) uint8."""
    pose: Pose
    """In pixels of the image."""
    camid: int
    """The camera; ``NO_CAMERA`` if it is unknown."""
    size: tuple[int, int]
    """(height, width) of the generated images, in pixels."""
    generator: GeneratorNetwork
    checkpoint: Path

    @property
    def stem(self) -> str:
        """The name of files about this person, without suffix."""
        return Path(self.name).stem

    def image(self) -> np.ndarray:
        """The image in the generated size, (height, width, 3) uint8."""
        return resize(self.pixels, *self.size)

    def own_pose(self) -> Pose:
        """The pose of :meth:`image`, in its pixels."""
        return self.pose.resized(self._file_size(), self.size)

    def posed(self, pose: Pose) -> Pose:
        """A pose with a torso in the place of this person's, in pixels of the generated size."""
        size = self._file_size()
        return posed_in(pose, self.pose, size).resized(size, self.size)

    def generate(self, poses: Sequence[Pose], progress: Progress | None = None) -> list[np.ndarray]:
        """The person in poses of :meth:`posed`: images (height, width, 3) uint8.

        Args:
            poses: one or more.
            progress: replaces the progress bar on stderr.
        """
        found: list[np.ndarray] = []
        with (progress or track)(range(len(poses)), "generate") as bar:
            for start in range(0, len(poses), AT_ONCE):
                found += self._generated(poses[start : start + AT_ONCE])
                bar.update(len(found) - start)
        return found

    def cost(self, poses: Sequence[Pose], zoom: int) -> Cost:
        """The time of :meth:`generate`, from its first batch, and the size of pose and image.

        Args:
            poses: one or more.
            zoom: the factor by which height and width are enlarged.
        """
        begin = time.perf_counter()
        self._generated(poses[:AT_ONCE])
        seconds = (time.perf_counter() - begin) * math.ceil(len(poses) / AT_ONCE)
        height, width = self.size
        return Cost(seconds, len(poses) * 2 * 3 * height * width * zoom**2)

    def _generated(self, poses: Sequence[Pose]) -> list[np.ndarray]:
        count = len(poses)
        cameras = [np.full(count, self.camid)] * 2 if self.generator.config.cameras else []
        made = generate(
            self.generator,
            np.stack([self.image()] * count),
            np.stack([self.own_pose().xy] * count),
            np.stack([pose.xy for pose in poses]),
            *cameras,
        )
        return [*made]

    def _file_size(self) -> tuple[int, int]:
        height, width = self.pixels.shape[:2]
        return height, width


def open_person(
    stage: Stage, finder: PoseFinder, source: str, generator: str | None, camera: int | None
) -> Person:
    """The person of an image.

    Args:
        source: the file name of an image of the data set, or the path of an image file.
        generator: a checkpoint, or "demo"; None means that of the run folder.
        camera: the camera of the image; None means that of its file name.

    Raises:
        UserError: If there is no such image, it has no usable pose, or the generator needs a camera
            that is not known.
    """
    image = _image(stage, source)
    checkpoint = stage.generator(generator)
    network, _ = load_with_metadata(checkpoint)
    camid = image.camid if camera is None else camera
    _check_camera(checkpoint, network.config.cameras, camid, camera, image.name)
    pixels, data = open_image(image.path), stage.recipe.data
    pose = finder.of_image(image.name, pixels)
    network.to(stage.device)
    size = data.height, data.width
    return Person(image.name, pixels, pose, camid, size, network, checkpoint)


def _image(stage: Stage, source: str) -> PersonImage:
    """The image that SOURCE names."""
    data = stage.dataset
    images = {image.name: image for image in (*data.train, *data.query, *data.gallery)}
    if source in images:
        return images[source]
    path = Path(source)
    if not path.is_file():
        raise UserError(
            f"{source}: SOURCE must be an image file, or the file name of an image of the data "
            f"set, got neither{nearest(source, images)}"
        )
    try:
        return parse_name(path)
    except UserError:  # the name contains no camera
        return PersonImage(path, 0, NO_CAMERA)


def _check_camera(checkpoint: Path, cameras: int, camid: int, given: int | None, name: str) -> None:
    """Refuse a camera that the generator does not know, and one that it does not need."""
    if cameras and not 1 <= camid <= cameras:
        found = "no camera" if camid == NO_CAMERA else f"camera {camid}"
        raise UserError(
            f"{name}: the image must be of a camera from 1 to {cameras} for the camera-conditioned "
            f"generator {checkpoint}, got {found}; name the most similar one with --camera N"
        )
    if not cameras and given is not None:
        raise UserError(
            f"--camera must not be given for a generator that is not camera-conditioned, "
            f"{checkpoint}, got {given}"
        )
