"""Training pairs: two images of one person, and the batches of them that a training sees.

Batches are numbered by the training step, and each is drawn from (seed, step) alone. So it does not
matter who reads them, in which order, or where a training is taken up again.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from reid_aug.dataset import DataConfig, PersonImage, by_identity, open_image, resize
from reid_aug.errors import UserError
from reid_aug.poses import NO_POSE, Pose

CAMERAS = ("any", "same")
SAMPLES = 8


class Batch(NamedTuple):
    """Pairs of one step.

    Pixels are (B, H, W, 3) uint8, key points (B, 18, 2) float32, NaN unseen, and ``cameras``
    (B, 2) int64 holds the camids of ``image`` and ``truth``.
    """

    image: Tensor
    truth: Tensor
    source: Tensor
    target: Tensor
    cameras: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device."""
        return Batch(*(part.to(device, non_blocking=True) for part in self))


class Pairs(Dataset[Batch]):
    """The training pairs: item i is the batch of step i, whatever was asked for before.

    A pair is two different images of one identity, both with shoulders and hips seen, under any
    cameras (the published rule) or under one. Pairs are drawn uniformly, with replacement, so an
    identity of n images counts n (n - 1) times.
    """

    def __init__(
        self,
        images: Iterable[PersonImage],
        poses: Mapping[str, Pose],
        data: DataConfig,
        steps: int,
        batch: int,
        seed: int = 0,
        cameras: str = "any",
        flip: bool = False,
    ) -> None:
        usable = [image for image in images if poses.get(image.name, NO_POSE).has_torso]
        groups = [group for group in _groups(usable, cameras) if len(group) > 1]
        if not groups:
            raise UserError(
                f"training needs an identity with two images whose shoulders and hips are known "
                f"(cameras: {cameras}), got {len(usable)} such images and no pair among them"
            )
        self.images = [image for group in groups for image in group]
        self.poses = [poses[image.name] for image in self.images]
        sizes = np.array([len(group) for group in groups])
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        self.pairs_until = np.cumsum(sizes * (sizes - 1))
        self.data, self.seed = data, seed
        self.steps, self.size, self.flip = steps, batch, flip

    @property
    def count(self) -> int:
        """How many different ordered pairs there are."""
        return int(self.pairs_until[-1])

    def pair(self, index: int) -> tuple[int, int]:
        """The index-th ordered pair, as two places in ``images``."""
        group = int(np.searchsorted(self.pairs_until, index, side="right"))
        start, size = int(self.starts[group]), int(self.starts[group + 1] - self.starts[group])
        within = index - int(self.pairs_until[group - 1] if group else 0)
        source, target = divmod(within, size - 1)
        return start + source, start + target + (target >= source)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, 1, step])
        indices = rng.integers(self.count, size=self.size)
        flips = rng.random(self.size) < 0.5 * self.flip
        return self.batch([self.pair(int(i)) for i in indices], flips.tolist())

    def batch(self, pairs: Sequence[tuple[int, int]], flips: Sequence[bool]) -> Batch:
        """Read ``pairs`` (places in ``images``), some of them mirrored."""
        sources = [self._read(a, flip) for (a, _), flip in zip(pairs, flips, strict=True)]
        targets = [self._read(b, flip) for (_, b), flip in zip(pairs, flips, strict=True)]
        columns = (
            [pixels for pixels, _ in sources],
            [pixels for pixels, _ in targets],
            [xy for _, xy in sources],
            [xy for _, xy in targets],
            [[self.images[place].camid for place in pair] for pair in pairs],
        )
        return Batch(*(torch.from_numpy(np.array(column)) for column in columns))

    def samples(self) -> Batch:
        """Eight fixed pairs, spread over the identities."""
        rng = np.random.default_rng([self.seed, 0])
        indices = np.linspace(0, self.count, SAMPLES, endpoint=False) + rng.random() * 2
        chosen = [self.pair(int(i) % self.count) for i in indices]
        return self.batch(chosen, [False] * SAMPLES)

    def _read(self, place: int, flip: bool) -> tuple[np.ndarray, np.ndarray]:
        size = self.data.height, self.data.width
        original = open_image(self.images[place].path)
        pose = self.poses[place].resized(original.shape[:2], size)
        pixels = resize(original, *size)
        if flip:
            pixels, pose = pixels[:, ::-1], pose.mirrored(size[1])
        return np.ascontiguousarray(pixels), pose.xy


def _groups(images: Iterable[PersonImage], cameras: str) -> list[list[PersonImage]]:
    """Images that pair with each other: those of an identity, or of an identity and a camera."""
    people = by_identity(images).values()
    if cameras == "any":
        return list(people)
    return [
        [image for image in group if image.camid == camid]
        for group in people
        for camid in sorted({image.camid for image in group})
    ]
