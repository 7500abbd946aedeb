"""The pool: old drawings among the new ones."""

import numpy as np
import torch
from torch import Tensor


class ImagePool:
    """The last generated pictures, so that a discriminator does not forget old mistakes.

    Until it is full, what comes in goes out. Then each sample goes out with probability 1/2, or is
    stored in exchange for a random one that goes out instead (Shrivastava et al., CVPR 2017).
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def exchange(self, batch: Tensor, rng: np.random.Generator) -> Tensor:
        """(B, ...) to as many samples, old and new mixed."""
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
