"""The interface of a method: how the image of a planned row is made.

A bank is planned, generated, extended and described in the same way for every method. The image of
a row depends on that row only. It is made in three steps, which overlap when a bank is generated
(:mod:`reid_aug.bank.shards`):

    read       what a batch of rows needs, from the disk
    compute    the images, on the device
    finish     what remains to be done to the images, on the CPU

A new method is a subclass of :class:`Method` that defines ``name``, ``label``, ``generator_data``,
``description`` and :meth:`Method.read`, and the properties that differ from the defaults. A package
outside this one registers it under the entry point group ``reid_aug.methods``, with the method's
name as the name of the entry point.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torchvision.transforms import functional as colours

from reid_aug.bank.plan import GivenPose, PlannedRow, image_of
from reid_aug.data.dataset import Dataset, PersonImage, image_size, read_image
from reid_aug.data.keypoints import NO_POSE, Pose
from reid_aug.people.pose_library import LIBRARY_SIZE, library_poses
from reid_aug.runtime.random_streams import BankStream

USUAL = "stand/0/front"
HUE = 1 / 6  # of the circle of hues, either way, at jitter 1


@dataclass(frozen=True, slots=True)
class Scene:
    """The data set and the settings that a method works with."""

    dataset: Dataset
    real: tuple[PersonImage, ...]
    """The kept set."""
    poses: Mapping[str, Pose]
    """Keypoints by file name, in pixels of the file."""
    size: tuple[int, int]
    """(height, width) of the generated images, in pixels."""
    seed: int
    jitter: float = 0.0
    """How much the generated images differ in light, in [0, 1), as in :func:`relit`."""
    background: str = "generated"
    """One of :data:`reid_aug.bank.methods.background.BACKGROUNDS`."""


class Method(ABC):
    """A way to make the images of a bank.

    The class variables are known without an instance. The code decides by them, and never by the
    name of a method.

    Args:
        scene: the data set and the settings.
        cameras: whose camera an image shows, as in :func:`reid_aug.bank.plan.plan`.
        checkpoint: the generator file; None for a method that needs none.
    """

    name: ClassVar[str]
    """The value of the recipe key ``synthesize.method``."""
    label: ClassVar[str]
    """The words for the generated images in tables and plots."""
    version: ClassVar[int] = 1
    """Raise it when the same row gets another image: a bank of one version is never extended by
    another."""
    needs_checkpoint: ClassVar[bool] = False
    """Whether the images come from a generator file (``--generator FILE``)."""
    uses_jitter: ClassVar[bool] = False
    """Whether ``synthesize.jitter`` changes the images."""
    moves_cameras: ClassVar[bool] = False
    """Whether the method can show a person under the target's camera (``cameras = "target"``)."""
    uses_background: ClassVar[bool] = False
    """Whether the method can show a person over the background of the target
    (``background = "target"``), and with it the target's camera."""
    changes_pose: ClassVar[bool] = True
    """Whether the images show the target's pose, so that a true render is comparable with them."""
    needs_target_image: ClassVar[bool] = False
    """Whether the method needs the image of the target, and not only its pose."""
    built_in_people_only: ClassVar[bool] = False
    """Whether the method works only on the built-in people."""

    trained_on: str = ""
    """The fingerprints of all images that trained a network of the method, as in its checkpoint; ""
    if they are unknown or there are none. They go into the bank, so that networks which train on it
    can record them."""
    generator_data: str
    """The leak status, one of :data:`reid_aug.data.provenance.STATUSES`: which images trained it.
    A method without training that reads only images of the kept set has the status "kept"."""
    description: str
    """One line for logs and the card of the bank: what makes the images, and from what."""
    sha256: str
    """The identity of the method and of its weights. It follows from name and version, unless a
    subclass sets another one."""

    def __init__(self, scene: Scene, cameras: str, checkpoint: Path | None) -> None:
        self.scene, self.cameras = scene, cameras
        self.device = torch.device("cpu")
        self.sha256 = hashlib.sha256(f"{self.name}/{self.version}".encode()).hexdigest()

    def to(self, device: torch.device) -> None:
        """Compute on ``device`` from now on, where the method uses one."""
        self.device = device

    def row(self, row: PlannedRow) -> PlannedRow:
        """The row of the plan that this method makes in place of ``row``."""
        return row

    def pose(self, image: PersonImage) -> Pose:
        """The keypoints of an image, in pixels of the generated size."""
        pose = self.scene.poses.get(image.name, NO_POSE)
        return pose.resized(image_size(image.path), self.scene.size)

    def keypoints(self, row: PlannedRow) -> np.ndarray:
        """The pose in the image of a row: (18, 2) float32, x and y in pixels, NaN unseen.

        A given pose stands where the source stands, at its size.
        """
        if not isinstance(row.target, GivenPose):
            return self.pose(row.target).xy
        size = image_size(row.source.path)
        source = self.scene.poses.get(row.source.name, NO_POSE)
        return posed_in(row.target.pose, source, size).resized(size, self.scene.size).xy

    def sources(self, rows: Sequence[PlannedRow]) -> np.ndarray:
        """The source images of some rows, in the generated size: (B, H, W, 3) uint8."""
        return np.stack([read_image(row.source.path, *self.scene.size) for row in rows])

    def targets(self, rows: Sequence[PlannedRow]) -> np.ndarray:
        """The images that gave the poses, in the generated size: (B, H, W, 3) uint8."""
        return np.stack([read_image(image_of(row.target).path, *self.scene.size) for row in rows])

    def poses(self, rows: Sequence[PlannedRow]) -> np.ndarray:
        """The poses of sources and targets: (2, B, 18, 2) float32 pixels, NaN unseen."""
        return np.stack(
            [[self.pose(row.source).xy for row in rows], [self.keypoints(row) for row in rows]]
        )

    def relit(self, images: np.ndarray, rows: Sequence[PlannedRow], jitter: float) -> np.ndarray:
        """The images of some rows with a separate change of light per image: (B, H, W, 3) uint8."""
        if not jitter:
            return images
        seeds = [[self.scene.seed, BankStream.JITTER, row.source.pid, row.seat] for row in rows]
        rngs = map(np.random.default_rng, seeds)
        return np.stack([relit(*pair, jitter) for pair in zip(images, rngs, strict=True)])

    def generate(self, rows: Sequence[PlannedRow]) -> np.ndarray:
        """The images of some rows, by all three steps: (B, H, W, 3) uint8."""
        return self.finish(self.compute(self.read(rows)), rows)

    @abstractmethod
    def read(self, rows: Sequence[PlannedRow]) -> Any:
        """What :meth:`compute` needs for these rows, from the disk. Runs in its own thread."""

    def compute(self, material: Any) -> np.ndarray:
        """The images from what :meth:`read` returned, (B, H, W, 3) uint8; uses the device."""
        result: np.ndarray = material
        return result

    def finish(self, images: np.ndarray, rows: Sequence[PlannedRow]) -> np.ndarray:
        """The final images of some rows, (B, H, W, 3) uint8. Runs in its own thread."""
        return images


def posed_in(pose: Pose, source: Pose, size: tuple[int, int]) -> Pose:
    """A pose of no image in the place of the pose of an image, in pixels of that image.

    Its torso lies where that of the source lies; in an image without a torso, where that of the
    first standing pose of the pose library lies in its picture. Joints outside the image are
    missing.

    Args:
        pose: shoulders and hips are seen; the unit of length is free.
        source: the pose of the image.
        size: (height, width) of the image, in pixels.
    """
    place = source if source.has_torso else usual_pose().resized(LIBRARY_SIZE, size)
    return pose.placed_like(place).within(size)


@cache
def usual_pose() -> Pose:
    """The pose that stands for that of a source without a torso."""
    return library_poses()[USUAL]


def relit(image: np.ndarray, rng: np.random.Generator, jitter: float) -> np.ndarray:
    """An image (H, W, 3) uint8 with changed brightness, contrast, saturation and hue.

    The first three change by a factor in [1 - jitter, 1 + jitter]. The hue moves by at most
    ``jitter * HUE`` of the circle of hues in either direction.
    """
    brightness, contrast, saturation = rng.uniform(1 - jitter, 1 + jitter, 3)
    tensor = torch.tensor(image).permute(2, 0, 1)
    tensor = colours.adjust_brightness(tensor, brightness)
    tensor = colours.adjust_contrast(tensor, contrast)
    tensor = colours.adjust_saturation(tensor, saturation)
    tensor = colours.adjust_hue(tensor, rng.uniform(-jitter, jitter) * HUE)
    result: np.ndarray = tensor.permute(1, 2, 0).numpy()
    return result
