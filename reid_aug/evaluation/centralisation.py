"""Feature centralisation: a feature is averaged with those of generated images in other poses.

After Pose2ID (Yuan et al., CVPR 2025, arXiv:2503.00938). For every query and gallery image, images
in the same few poses are generated, and the feature becomes the mean of its own feature and those
of the generated images. Nothing is trained, and the identities of the test set are not used: a
generated image depends on one test image, its keypoints, and poses of the training set. A
camera-conditioned generator receives the camera of the image, and the camera to generate: the same
one, or that of the image that supplies the pose.

Images are generated for all test images, also for those without a complete pose. If images without
a pose were left out, images with and without averaging would form separate groups, which would
separate the distractors, as these often have no pose.

The images may also be files of another generator, such as those that Pose2ID publishes. They need
not be equally many per test image. Images without any keep their own features, and are counted.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from reid_aug.bank.coverage import typical_poses
from reid_aug.bank.methods import GeneratorMethod, Scene
from reid_aug.bank.plan import PlannedRow, usable
from reid_aug.data.dataset import (
    DISTRACTOR,
    DataConfig,
    Dataset,
    PersonImage,
    kept,
    usual_shape,
)
from reid_aug.data.foreign_images import Foreign, read_names
from reid_aug.data.keypoints import NO_POSE, Pose
from reid_aug.data.listing import ignored_text
from reid_aug.data.provenance import keypoints_sha256, require_status
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.runtime.progress import track

POSES = 8  # as in Pose2ID
POSED_BATCH = 32  # images generated at once


@dataclass(frozen=True, slots=True)
class CentraliseConfig:
    """The poses and the cameras of the generated images."""

    poses: int = POSES
    """Generated images per test image, 1 or more."""
    cameras: str = "source"
    """The camera of a generated image: that of its "source" or of its "target"."""

    def __post_init__(self) -> None:
        if self.poses < 1:
            raise UserError(f"poses must be at least 1, got {self.poses}")


class OtherImages(Protocol):
    """Generated images of test images, for their features."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What identifies the images."""

    @property
    def words(self) -> str:
        """A description of the generated images, for messages."""

    @property
    def per_image(self) -> int:
        """Generated images per test image, rounded up."""

    def of(self, images: Sequence[PersonImage]) -> list[list[np.ndarray]]:
        """The generated images of every image, each (H, W, 3) uint8."""


class PosedFeatures:
    """Generated images of the test images, in typical poses of the kept training images.

    ``settings`` records how they are made. ``poseless`` is the number of test images without both
    shoulders and both hips.

    Raises:
        UserError: If the generator cannot be used, it was trained on test images, or no test image
            has keypoints.
    """

    def __init__(
        self,
        checkpoint: Path,
        dataset: Dataset,
        poses: Mapping[str, Pose],
        data: DataConfig,
        config: CentraliseConfig,
        seed: int,
        device: torch.device,
    ) -> None:
        real = kept(dataset.train, data.keep, data.keep_seed)
        tested = (*dataset.query, *dataset.gallery)
        self.poseless = sum(not poses.get(image.name, NO_POSE).has_torso for image in tested)
        if self.poseless == len(tested):
            raise UserError(
                f"none of the {len(tested)} query and gallery images has keypoints with both "
                f"shoulders and both hips, which pose transfer needs; give keypoints with "
                f"--keypoints FILE"
            )
        size = data.height, data.width
        self.cameras = config.cameras
        self.method = GeneratorMethod(
            Scene(dataset, real, poses, size, seed), config.cameras, checkpoint
        )
        self.method.to(device)
        self.targets = typical_poses(usable(real, poses), poses, config.poses, seed)
        self.settings = {
            "generator_sha256": self.method.sha256,
            "generator_data": self.method.generator_data,
            "targets": [target.name for target in self.targets],
            "cameras": config.cameras,
            "height": data.height,
            "width": data.width,
            "keypoints_sha256": keypoints_sha256((*tested, *self.targets), poses),
        }

    @property
    def words(self) -> str:
        """A description of the generated images, for messages."""
        text = f"every image in {self.per_image} poses, generated by {self.method.description}"
        if self.poseless:
            text += f"; {self.poseless} images have no whole torso, and are not left out"
        return text

    @property
    def per_image(self) -> int:
        """The number of poses."""
        return len(self.targets)

    def of(self, images: Sequence[PersonImage]) -> list[list[np.ndarray]]:
        """Every image in every pose, each (H, W, 3) uint8."""
        generated = self.generate(images)
        return [list(own) for own in np.split(generated, len(images))]

    def generate(self, images: Sequence[PersonImage]) -> np.ndarray:
        """Every image in every pose, image after image: (B * poses, H, W, 3) uint8."""
        return self.method.generate(
            [
                PlannedRow(
                    image, target, target.camid if self.cameras == "target" else image.camid, seat
                )
                for image in images
                for seat, target in enumerate(self.targets)
            ]
        )


class GivenImages:
    """Generated images of the test images, from files that another generator wrote.

    ``settings`` records their contents.

    Args:
        folder: the files, at any depth; names as in :mod:`reid_aug.data.foreign_images`. A file
            belongs to the query or gallery image that its name names.
        dataset: the data set.
        generator_data: the leak status of the generator, one of "kept", "external", "whole".

    Raises:
        UserError: If the folder holds no image of a test image, a file does not decode, or its
            shape is far from that of the data set.
    """

    def __init__(self, folder: Path, dataset: Dataset, generator_data: str) -> None:
        require_status(generator_data, "--trained-on")
        tested = (*dataset.query, *dataset.gallery)
        self.usual, self.generator_data = usual_shape(tested), generator_data
        self.dataset, self.files = dataset, dict[str, list[Foreign]]()
        names = {image.name for image in tested}
        found, self.ignored = read_names(folder, names)
        for foreign in found:
            if foreign.source in names:
                self.files.setdefault(foreign.source, []).append(foreign)
        self.count = sum(map(len, self.files.values()))
        self.others = len(found) - self.count
        if not self.count:
            raise UserError(
                f"{folder}: must hold generated images that are named after query or gallery "
                f"images, as '{tested[0].name}', got {len(found)} images of none, as "
                f"'{found[0].path.name}'"
            )
        used = [foreign for name in sorted(self.files) for foreign in self.files[name]]
        hashes = "\n".join(f"{foreign.source} {sha256(foreign.path)}" for foreign in used)
        self.settings = {
            "files_sha256": hashlib.sha256(hashes.encode()).hexdigest(),
            "images": self.count,
            "generator_data": generator_data,
        }
        for foreign in used:
            foreign.pixels(self.usual)  # raises before anything is computed

    @property
    def words(self) -> str:
        """A description of the generated images, for messages."""
        parts = [
            f"{self._with_some(images)} of {len(images)} {split} images"
            for split, images in (("query", self.dataset.query), ("gallery", self.dataset.gallery))
        ]
        without = [
            image
            for image in self.dataset.gallery
            if image.pid == DISTRACTOR and image.name not in self.files
        ]
        text = f"{self.count} generated images of {' and '.join(parts)}"
        if without:
            text += f"; {len(without)} distractors have none"
        if self.others:
            text += f"; {self.others} of no query or gallery image left out"
        if self.ignored:
            text += f"; {ignored_text(self.ignored)}"
        return f"{text}; their generator was trained on: {self.generator_data}"

    def _with_some(self, images: Sequence[PersonImage]) -> int:
        return sum(image.name in self.files for image in images)

    @property
    def per_image(self) -> int:
        """The mean number of generated images of those that have some, rounded up."""
        return -(-self.count // len(self.files))

    def of(self, images: Sequence[PersonImage]) -> list[list[np.ndarray]]:
        """The files of every image, each (H, W, 3) uint8; none for some."""
        return [
            [foreign.pixels(self.usual) for foreign in self.files.get(image.name, ())]
            for image in images
        ]


@torch.inference_mode()
def centralised(
    features: Tensor,
    images: Sequence[PersonImage],
    others: OtherImages,
    model: nn.Module,
    transform: Any,
    device: torch.device,
) -> Tensor:
    """The features (N, D) of ``images``, averaged with those of the generated images: (N, D)."""
    sums, seen = features.clone(), torch.ones(len(features), device=features.device)
    step = max(1, POSED_BATCH // others.per_image)
    with track(range(0, len(images), step), "average with generated images") as starts:
        for start in starts:
            groups = others.of(images[start : start + step])
            counts = [len(group) for group in groups]
            if not sum(counts):
                continue
            generated = [Image.fromarray(each) for group in groups for each in group]
            inputs = torch.stack([transform(picture) for picture in generated])
            found = model(inputs.to(device)).float().to(features.device)
            for place, own in enumerate(found.split(counts), start):
                sums[place] += own.sum(0)
                seen[place] += len(own)
    return sums / seen[:, None]
