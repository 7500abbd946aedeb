"""Batches of a re-ID training: the images of each step, and their random changes.

A batch depends on the seed and the number of its step only, and so do the random changes of its
images. So a training that is interrupted continues with the batch of the next step.

Shuffled batches take the images of the mix in one shuffle after another. Batches by identity hold
the same number of images of each of their identities (PK sampling): identities come in one shuffle
after another, and so do the images of each identity. Both kinds can fix the number of generated
images per batch.

Class labels 0..K-1, which stand for pids in ascending order, exist here and in the training only.
"""

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from reid_aug.mixing import Mix
from reid_aug.runtime.errors import UserError
from reid_aug.stages.train_reid.settings import TrainReidConfig


class Draw(NamedTuple):
    """One image of a batch."""

    place: int
    """Its index in the mix."""
    number: int
    """The seed of its random changes, together with that of the training."""


class Training(TorchDataset[dict[str, Any]]):
    """The whole mix as one torch data set, with class labels instead of pids.

    ``transform`` uses the global random generators, as torchreid's does; they are seeded for every
    image.
    """

    def __init__(self, mix: Mix, transform: Any, seed: int) -> None:
        self.mix, self.transform, self.seed = mix, transform, seed
        pids = sorted({image.pid for image in mix.real})
        self.labels = {pid: label for label, pid in enumerate(pids)}

    def __len__(self) -> int:
        return len(self.mix)

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        index, number = draw
        pid, camid = self.mix.identity(index)
        self.seed_changes(number)
        return {
            "img": self.transform(Image.fromarray(self.mix.image(index))),
            "pid": self.labels[pid],
            "camid": camid,
            "is_generated": self.mix.is_generated(index),
        }

    def seed_changes(self, number: int) -> None:
        """Seed the global random generators for the image of this number."""
        start = int(np.random.default_rng([self.seed, 9, number]).integers(2**62))
        random.seed(start)
        torch.default_generator.manual_seed(start)


class Shuffles:
    """Some numbers in one shuffle after another; ``key`` and the lap seed each shuffle."""

    def __init__(self, numbers: np.ndarray, key: list[int]) -> None:
        self.numbers, self.key = numbers, key
        self._lap, self._shuffled = -1, numbers

    def take(self, start: int, count: int) -> list[int]:
        """The ``count`` numbers from position ``start`` on."""
        taken: list[int] = []
        while len(taken) < count:
            lap, place = divmod(start + len(taken), len(self.numbers))
            if lap != self._lap:
                order = np.random.default_rng([*self.key, lap]).permutation(len(self.numbers))
                self._lap, self._shuffled = lap, self.numbers[order]
            taken += self._shuffled[place : place + count - len(taken)].tolist()
        return taken


class Shuffled:
    """Batches from shuffles of the whole mix, or of real and generated images separately."""

    def __init__(self, mix: Mix, config: TrainReidConfig, seed: int) -> None:
        everything = np.arange(len(mix))
        drawn = round(config.generated_share * config.batch) if mix.generated else 0
        if drawn:
            real, generated = np.split(everything, [len(mix.real)])
            parts = [(real, config.batch - drawn, 4), (generated, drawn, 7)]
        else:
            parts = [(everything, config.batch, 4)]
        for images, count, _ in parts:
            if count > len(images):
                raise UserError(
                    f"train_reid.batch ({config.batch}) takes {count} images at once of a set of "
                    f"{len(images)}; lower it with --set train_reid.batch=N"
                )
        self._parts = [(Shuffles(images, [seed, key]), count) for images, count, key in parts]

    def indices(self, step: int) -> list[int]:
        """The indices in the mix of the images of a batch."""
        return [i for images, count in self._parts for i in images.take(step * count, count)]


class ByIdentity:
    """Batches with the same number of images of each of their identities.

    If an identity has too few images, some are repeated. If it has no generated image, real images
    are used instead.
    """

    def __init__(self, mix: Mix, config: TrainReidConfig, seed: int) -> None:
        self.people = config.batch // config.instances
        pids = np.array([mix.identity(index)[0] for index in range(len(mix))])
        found = np.unique(pids)
        if len(found) < self.people:
            raise UserError(
                f"a batch of {config.batch} images, {config.instances} of each identity, needs "
                f"{self.people} identities, and the kept set has {len(found)}; lower it with "
                f"--set train_reid.batch={len(found) * config.instances}"
            )
        self._order = Shuffles(np.arange(len(found)), [seed, 5])
        self._images = [
            self._parts_of(np.flatnonzero(pids == pid), len(mix.real), config, [seed, label])
            for label, pid in enumerate(found)
        ]

    @staticmethod
    def _parts_of(
        images: np.ndarray, real: int, config: TrainReidConfig, key: list[int]
    ) -> list[tuple[Shuffles, int]]:
        """The shuffles of the images of one identity, and how many images a batch takes of each."""
        seed, label = key
        drawn = round(config.generated_share * config.instances)
        generated = images[images >= real]
        if not drawn or not len(generated):
            return [(Shuffles(images, [seed, 6, label]), config.instances)]
        kinds = ((images[images < real], config.instances - drawn, 6), (generated, drawn, 8))
        return [(Shuffles(kind, [seed, number, label]), count) for kind, count, number in kinds]

    def indices(self, step: int) -> list[int]:
        """The indices in the mix of the images of a batch, identity by identity."""
        size = len(self._images)
        lap, place = divmod(step, size // self.people)
        people = self._order.take(lap * size + place * self.people, self.people)
        return [
            index
            for person in people
            for images, count in self._images[person]
            for index in images.take(lap * count, count)
        ]


class Batches(Sampler[list[Draw]]):
    """The batches of the steps from ``start`` on; of each only the images in ``part``.

    Raises:
        UserError: If there are too few images or identities for a batch.
    """

    def __init__(
        self,
        mix: Mix,
        config: TrainReidConfig,
        seed: int,
        start: int = 0,
        part: slice = slice(None),
    ) -> None:
        kind = ByIdentity if config.instances else Shuffled
        self.config, self.start, self.part = config, start, part
        self._chosen = kind(mix, config, seed)

    def __len__(self) -> int:
        return self.config.steps - self.start

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in range(self.start, self.config.steps):
            numbers = range(step * self.config.batch, (step + 1) * self.config.batch)
            draws = map(Draw, self._chosen.indices(step), numbers)
            yield list(draws)[self.part]
