"""The interface of a generator network, and how a package of your own adds one.

The ``format`` tag in a checkpoint's metadata selects the class that reads the file. The tag
"reid_aug.generator/1" is the built-in PATN network. Any installed package adds a tag by an entry
point of the group ``reid_aug.generators``, whose name is the tag and whose value is a subclass of
:class:`GeneratorNetwork`:

    [project.entry-points."reid_aug.generators"]
    "acme.flow/1" = "acme.flow:FlowGenerator"

The checkpoint itself is a safetensors file whose metadata holds ``format`` (the tag) and whatever
else the class needs, each value as JSON. The keys that other commands read are ``trained_on``
(the fingerprints of the training images, see :mod:`reid_aug.data.provenance`; unknown images count
as the worst leak status) and ``vgg_sha256`` (present if a perceptual loss was used).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol, Self

from torch import Tensor, nn


class NetworkConfig(Protocol):
    """The fields of a network's configuration that other code reads."""

    @property
    def cameras(self) -> int:
        """The number of cameras it is conditioned on, camids 1 to this; 0 if it is not."""


class GeneratorNetwork(nn.Module, ABC):
    """A network that generates an image of a person in another pose.

    A subclass is a normal module: it can be moved to a device, and in eval mode it is
    deterministic.
    """

    config: NetworkConfig
    """The configuration, with at least the fields of :class:`NetworkConfig`."""

    @property
    def step(self) -> int:
        """The number of pixels that height and width of an image must be multiples of."""
        return 1

    @classmethod
    @abstractmethod
    def from_checkpoint(cls, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Self:
        """Build the network of a checkpoint, with its weights, on the CPU.

        Checkpoints are untrusted input: check the shapes before large tensors are allocated.

        Args:
            tensors: the tensors of the file, by name.
            metadata: the metadata of the file, each value decoded from JSON.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: If metadata and tensors do not fit; the
                loader puts the message into one UserError with the path of the file.
        """

    @abstractmethod
    def repose(
        self, image: Tensor, source: Tensor, target: Tensor, cameras: Tensor | None = None
    ) -> Tensor:
        """Generate ``image`` in the pose ``target``.

        Args:
            image: (B, 3, H, W) in [-1, 1].
            source: (B, 18, 2) keypoints of ``image``, x and y in pixels, NaN for unseen joints.
            target: (B, 18, 2) keypoints of the pose to generate, as ``source``.
            cameras: (B, 2) int64, the camids of ``image`` and of the generated image. A network
                that is not camera-conditioned ignores them.

        Returns:
            (B, 3, H, W) in [-1, 1].
        """
