"""Feature centralisation: an image is known by itself and by drawings of it in other poses.

After Pose2ID (Yuan et al., CVPR 2025, arXiv:2503.00938). Every query and gallery image is drawn
anew in the same few poses, and its feature becomes the mean of its own and its drawings'. Nothing
is trained, and the identities of the test are not asked: a drawing is made of one image, its key
points, and poses of the training set. Where a generator is told cameras, it is told the image's
own, and that of the drawing: the same, or that of the image which the pose is from.

All images are drawn, whatever is seen of their own pose. Were those left out whose pose nobody
found, drawn and undrawn images would lie apart, and distractors, which often have no pose, would be
sorted out by that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from reid_aug.bank.coverage import typical_poses
from reid_aug.bank.methods import GeneratorMethod, Scene
from reid_aug.bank.plan import Draw, usable
from reid_aug.data.dataset import DataConfig, Dataset, PersonImage, kept
from reid_aug.data.keypoints import NO_POSE, Pose
from reid_aug.data.provenance import keypoints_sha256
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.progress import track

POSES = 8  # as Pose2ID draws
BATCH = 32  # drawings made at once


@dataclass(frozen=True, slots=True)
class CentraliseConfig:
    """In how many ``poses`` an image is drawn, and under whose camera: its own, or the target's."""

    poses: int = POSES
    cameras: str = "source"

    def __post_init__(self) -> None:
        if self.poses < 1:
            raise UserError(f"poses must be at least 1, got {self.poses}")


class PosedFeatures:
    """The drawings of test images in poses that are typical of the kept training images.

    ``settings`` says how they are made; ``poseless`` is how many test images have no pose.

    Raises:
        UserError: If there is no such generator, it was trained on test images, or no test image
            has key points.
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
        shown = (*dataset.query, *dataset.gallery)
        self.poseless = sum(not poses.get(image.name, NO_POSE).has_torso for image in shown)
        if self.poseless == len(shown):
            raise UserError(
                f"none of the {len(shown)} query and gallery images has key points with both "
                f"shoulders and both hips, which drawing them anew needs; give key points with "
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
            "generator_data": self.method.data,
            "targets": [target.name for target in self.targets],
            "cameras": config.cameras,
            "height": data.height,
            "width": data.width,
            "keypoints_sha256": keypoints_sha256((*shown, *self.targets), poses),
        }

    @property
    def words(self) -> str:
        """What they are, for people to read."""
        text = f"every image in {len(self)} poses, drawn by {self.method.words}"
        if self.poseless:
            text += f"; {self.poseless} images have no whole torso, and are drawn all the same"
        return text

    def __len__(self) -> int:
        return len(self.targets)

    def draw(self, images: Sequence[PersonImage]) -> np.ndarray:
        """Every image in every pose, image by image: (B * poses, H, W, 3) uint8."""
        return self.method.draw(
            [
                Draw(image, target, target.camid if self.cameras == "target" else image.camid, seat)
                for image in images
                for seat, target in enumerate(self.targets)
            ]
        )


@torch.inference_mode()
def centralised(
    features: Tensor,
    images: Sequence[PersonImage],
    posed_features: PosedFeatures,
    model: nn.Module,
    transform: Any,
    device: torch.device,
) -> Tensor:
    """The features (N, D) of ``images``, each averaged with those of its drawings: (N, D)."""
    sums, count = features.clone(), max(1, BATCH // len(posed_features))
    with track(range(0, len(images), count), "draw in other poses") as starts:
        for start in starts:
            drawn = posed_features.draw(images[start : start + count])
            looks = torch.stack([transform(Image.fromarray(each)) for each in drawn])
            found = model(looks.to(device)).float().to(features.device)
            sums[start : start + count] += found.unflatten(0, (-1, len(posed_features))).sum(1)
    return sums / (1 + len(posed_features))
