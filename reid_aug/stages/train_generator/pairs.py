"""Training pairs, which are two images of one person, and the batches of a training.

Batches are numbered by the training step, and each depends on (seed, step) only. So it does not
matter which process reads them, in which order, or at which step a training continues. Processes
that train together choose the same batch, and each reads its part of it.

Some identities can be held out. None of their images is ever in a batch, and a fixed set of their
pairs measures how well a generator works for people outside its training set.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reid_aug.data.dataset import (
    DataConfig,
    PersonImage,
    by_identity,
    name_hash,
    open_image,
    resize,
)
from reid_aug.data.keypoints import NO_POSE, Pose
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.random_streams import GeneratorStream

PAIR_CAMERAS = ("any", "same")
WEIGHTINGS = ("all", "balanced")
SAMPLES = 8
VALIDATION_PAIRS = 64


class PairBatch(NamedTuple):
    """The pairs of one step."""

    image: Tensor
    """Source images, (B, H, W, 3) uint8."""
    truth: Tensor
    """Target images, (B, H, W, 3) uint8."""
    source: Tensor
    """Keypoints of ``image``, (B, 18, 2) float32, NaN unseen."""
    target: Tensor
    """Keypoints of ``truth``, (B, 18, 2) float32, NaN unseen."""
    cameras: Tensor
    """The camids of ``image`` and ``truth``, (B, 2) int64."""

    def to(self, device: torch.device) -> "PairBatch":
        """The batch on another device."""
        return PairBatch(*(part.to(device, non_blocking=True) for part in self))


class Pairs:
    """The training pairs: item i is the batch of step i, independent of the items read before.

    A pair is two different images of one identity with visible shoulders and hips, from any cameras
    (the published rule) or from one camera. Pairs are drawn with replacement. With weighting "all"
    (the published rule) every pair has the same probability, so an identity with n images counts
    n (n - 1) times. With "balanced" every identity has the same probability, and so have its pairs.

    Args:
        steps: number of batches.
        batch: pairs per batch, of all processes together.
        cameras: "any" or "same".
        flip: mirror half of the pairs.
        weighting: "all" or "balanced".
        held_out: number of identities that are in no batch; the seed chooses them.
        part: the part of a batch that this process reads.

    Raises:
        UserError: If there is no pair, or no identity is left after ``held_out``.
    """

    def __init__(
        self,
        images: Iterable[PersonImage],
        poses: Mapping[str, Pose],
        data: DataConfig,
        *,
        steps: int,
        batch: int,
        seed: int = 0,
        cameras: str = "any",
        flip: bool = False,
        weighting: str = "all",
        held_out: int = 0,
        part: slice = slice(None),
    ) -> None:
        usable = [image for image in images if poses.get(image.name, NO_POSE).has_torso]
        groups = [group for group in _groups(usable, cameras) if len(group) > 1]
        if not groups:
            raise UserError(
                f"training needs an identity with two images whose shoulders and hips are known "
                f"(cameras: {cameras}), got {len(usable)} such images and no pair among them"
            )
        self.data, self.seed = data, seed
        self.steps, self.size, self.flip, self.part = steps, batch, flip, part
        self.is_balanced = weighting == "balanced"
        groups, validated = _hold_out(groups, held_out, seed)
        self.trained = len(groups)
        self.images = [image for group in (*groups, *validated) for image in group]
        self.poses = [poses[image.name] for image in self.images]
        sizes = np.array([len(group) for group in (*groups, *validated)])
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        self.pairs_until = np.cumsum(sizes * (sizes - 1))
        owners = [group[0].pid for group in groups]
        last = [owner != after for owner, after in zip(owners, [*owners[1:], None], strict=True)]
        self.people_until = np.concatenate([[0], self.pairs_until[: self.trained][last]])

    @property
    def count(self) -> int:
        """The number of different ordered pairs that a batch can contain."""
        return int(self.people_until[-1])

    def pair(self, index: int) -> tuple[int, int]:
        """The index-th ordered pair, as two indices into ``images``."""
        group = int(np.searchsorted(self.pairs_until, index, side="right"))
        start, size = int(self.starts[group]), int(self.starts[group + 1] - self.starts[group])
        within = index - int(self.pairs_until[group - 1] if group else 0)
        source, target = divmod(within, size - 1)
        return start + source, start + target + (target >= source)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> PairBatch:
        rng = np.random.default_rng([self.seed, GeneratorStream.PAIRS, step])
        indices = self._draw(rng)
        flips = rng.random(self.size) < 0.5 * self.flip
        pairs = [self.pair(int(i)) for i in indices[self.part]]
        return self.batch(pairs, flips[self.part].tolist())

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        """The indices of the pairs of a batch, of all processes together."""
        if not self.is_balanced:
            return rng.integers(self.count, size=self.size)
        people = rng.integers(len(self.people_until) - 1, size=self.size)
        return rng.integers(self.people_until[people], self.people_until[people + 1])

    def batch(self, pairs: Sequence[tuple[int, int]], flips: Sequence[bool]) -> PairBatch:
        """Read ``pairs`` (indices into ``images``); mirror those with a true ``flips``."""
        sources = [self._read(a, flip) for (a, _), flip in zip(pairs, flips, strict=True)]
        targets = [self._read(b, flip) for (_, b), flip in zip(pairs, flips, strict=True)]
        columns = (
            [pixels for pixels, _ in sources],
            [pixels for pixels, _ in targets],
            [xy for _, xy in sources],
            [xy for _, xy in targets],
            [[self.images[index].camid for index in pair] for pair in pairs],
        )
        return PairBatch(*(torch.from_numpy(np.array(column)) for column in columns))

    def samples(self) -> PairBatch:
        """Eight fixed pairs, spread over the identities."""
        rng = np.random.default_rng([self.seed, GeneratorStream.SAMPLES])
        indices = np.linspace(0, self.count, SAMPLES, endpoint=False) + rng.random() * 2
        chosen = [self.pair(int(i) % self.count) for i in indices]
        return self.batch(chosen, [False] * SAMPLES)

    def validation(self) -> list[PairBatch]:
        """Fixed pairs of the held-out identities in batches: 64, or one per identity if more.

        Empty if no identity is held out.
        """
        held_out = range(self.trained, len(self.pairs_until))
        rng = np.random.default_rng([self.seed, GeneratorStream.VALIDATION])
        count = max(VALIDATION_PAIRS, len(held_out)) if held_out else 0
        groups = [held_out[i % len(held_out)] for i in range(count)]
        pairs = [
            self.pair(int(rng.integers(self.pairs_until[g - 1], self.pairs_until[g])))
            for g in groups
        ]
        return [
            self.batch(some, [False] * len(some))
            for some in (pairs[i : i + SAMPLES] for i in range(0, count, SAMPLES))
        ]

    def _read(self, index: int, flip: bool) -> tuple[np.ndarray, np.ndarray]:
        size = self.data.height, self.data.width
        original = open_image(self.images[index].path)
        pose = self.poses[index].resized(original.shape[:2], size)
        pixels = resize(original, *size)
        if flip:
            pixels, pose = pixels[:, ::-1], pose.mirrored(size[1])
        return np.ascontiguousarray(pixels), pose.xy


def _groups(images: Iterable[PersonImage], cameras: str) -> list[list[PersonImage]]:
    """Groups of images that form pairs: per identity, or per identity and camera."""
    people = by_identity(images).values()
    if cameras == "any":
        return list(people)
    return [
        [image for image in group if image.camid == camid]
        for group in people
        for camid in sorted({image.camid for image in group})
    ]


def _hold_out(
    groups: list[list[PersonImage]], count: int, seed: int
) -> tuple[list[list[PersonImage]], list[list[PersonImage]]]:
    """The groups to train on, and those of ``count`` identities that are held out."""
    people = sorted({group[0].pid for group in groups})
    if count >= len(people):
        raise UserError(
            f"train_generator.held_out must leave identities to train on: of {len(people)} with a "
            f"pair it must be less than that, got {count}"
        )
    chosen = set(sorted(people, key=lambda pid: name_hash(seed, str(pid)))[:count])
    parts: tuple[list[list[PersonImage]], ...] = [], []
    for group in groups:
        parts[group[0].pid in chosen].append(group)
    return parts[0], parts[1]
