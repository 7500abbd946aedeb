"""Training pairs: two images of one person, and the batches of them that a training sees.

Batches are numbered by the training step, and each is drawn from (seed, step) alone. So it does not
matter who reads them, in which order, or where a training is taken up again. Processes that train
together draw the same batch, and each reads its part of it.

Some identities can be held out: none of their images is ever in a batch, and a fixed set of their
pairs says how well a generator draws people whom it has not seen.
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

CAMERAS = ("any", "same")
WEIGHTINGS = ("all", "balanced")
SAMPLES = 8
VALIDATION_PAIRS = 64


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


class Pairs:
    """The training pairs: item i is the batch of step i, whatever was asked for before.

    A pair is two different images of one identity, both with shoulders and hips seen, under any
    cameras (the published rule) or under one. Pairs are drawn with replacement: all alike (the
    published rule), so an identity of n images counts n (n - 1) times; or balanced, every identity
    equally often and then its pairs alike.

    Args:
        steps: how many batches there are.
        batch: pairs in a batch of all group.
        flip: mirror half of the pairs.
        weighting: "all" or "balanced".
        held_out: how many identities are never in a batch; the seed says which.
        part: what this rank reads of a batch.

    Raises:
        UserError: If there is no pair, or nobody is left with one.
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
        self.taught = len(groups)
        self.images = [image for group in (*groups, *validated) for image in group]
        self.poses = [poses[image.name] for image in self.images]
        sizes = np.array([len(group) for group in (*groups, *validated)])
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        self.pairs_until = np.cumsum(sizes * (sizes - 1))
        owners = [group[0].pid for group in groups]
        last = [owner != after for owner, after in zip(owners, [*owners[1:], None], strict=True)]
        self.people_until = np.concatenate([[0], self.pairs_until[: self.taught][last]])

    @property
    def count(self) -> int:
        """How many different ordered pairs there are to be drawn."""
        return int(self.people_until[-1])

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
        rng = np.random.default_rng([self.seed, GeneratorStream.PAIRS, step])
        indices = self._draw(rng)
        flips = rng.random(self.size) < 0.5 * self.flip
        pairs = [self.pair(int(i)) for i in indices[self.part]]
        return self.batch(pairs, flips[self.part].tolist())

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        """The pairs of a batch of all group, by number."""
        if not self.is_balanced:
            return rng.integers(self.count, size=self.size)
        people = rng.integers(len(self.people_until) - 1, size=self.size)
        return rng.integers(self.people_until[people], self.people_until[people + 1])

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
        rng = np.random.default_rng([self.seed, GeneratorStream.SAMPLES])
        indices = np.linspace(0, self.count, SAMPLES, endpoint=False) + rng.random() * 2
        chosen = [self.pair(int(i) % self.count) for i in indices]
        return self.batch(chosen, [False] * SAMPLES)

    def validation(self) -> list[Batch]:
        """Fixed pairs of those held out, 64 or one each, in batches; none without them."""
        held_out = range(self.taught, len(self.pairs_until))
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
