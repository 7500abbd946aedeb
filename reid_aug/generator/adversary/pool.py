"""The image pool: it mixes earlier generated images into a batch for a discriminator."""

import numpy as np
import torch
from torch import Tensor


class ImagePool:
    """A history of generated images, which stabilises the training of a discriminator.

    Until the pool is full, every sample is stored and returned. Afterwards each sample is returned
    with probability 1/2; otherwise it replaces a random stored sample, which is returned instead
    (Shrivastava et al., CVPR 2017).
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def exchange(self, batch: Tensor, rng: np.random.Generator) -> Tensor:
        """(B, ...) to a batch of the same shape that mixes earlier and new samples."""
        return torch.stack([self._exchange(sample, rng) for sample in batch])

    def _exchange(self, sample: Tensor, rng: np.random.Generator) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(sample.clone())
            return sample
        if self.size == 0 or rng.random() < 0.5:
            return sample
        slot = int(rng.integers(self.size))
        old, self.images[slot] = self.images[slot], sample.clone()
        return old
