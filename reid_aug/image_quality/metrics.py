"""Metrics: each takes all pairs under one protocol and returns one or more values at the end.

The memory of a metric grows by a few numbers per pair; that of the Inception metric by 2,048.
Their command-line options are declared in :mod:`reid_aug.image_quality.declarations`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from reid_aug.data.keypoints import Pose
from reid_aug.image_quality import declarations
from reid_aug.image_quality.masks import limb_mask
from reid_aug.image_quality.networks import (
    IdentityNetwork,
    Inception,
    Perception,
    PersonDetector,
)
from reid_aug.image_quality.pckh import correct_joints
from reid_aug.image_quality.protocols import PROTOCOLS, View, bordered, saved_as_jpeg
from reid_aug.image_quality.structure import mask_ssim, mean_difference, ssim
from reid_aug.pose_estimators import MoveNet
from reid_aug.pose_estimators.joint_layouts import pose_of, without_face
from reid_aug.runtime.files import sha256
from reid_aug.runtime.regular_files import require_regular

INCEPTION_PARTS = 10  # parts of the Inception Score
SEED = 2020  # the default of torch-fidelity
THRESHOLD = 0.2  # smallest confidence of a joint

Scores = dict[str, float]


class Metric(ABC):
    """One or more metrics of generated images, under one protocol.

    An installed package adds one through the entry point group ``reid_aug.metrics``
    (:mod:`reid_aug.runtime.extensions`). The name of the entry point is the option of the weights.

    Args:
        protocol: one of ``protocols``.
        network: what :meth:`open` returned; all protocols share it.
    """

    names: ClassVar[tuple[str, ...]]
    """The names of the metrics, as in ``quality.json``."""
    needs: ClassVar[str] = ""
    """The file of weights, in words; "" if the metrics need none."""
    protocols: ClassVar[tuple[str, ...]] = PROTOCOLS
    """The protocols under which they are defined."""

    def __init__(self, protocol: str, network: object = None) -> None:
        self.protocol, self.network = protocol, network

    @classmethod
    def open(cls, path: Path | str, device: torch.device) -> object:
        """The network of the weights in ``path``; None for metrics without a network.

        Raises:
            UserError: If the weights cannot be read.
        """
        return None

    @classmethod
    def fingerprint(cls, path: Path | str) -> str:
        """The SHA-256 of the weights.

        Raises:
            UserError: If there is no such file.
        """
        require_regular(path, remedy="give the path of a weight file that exists")
        return sha256(path)

    @abstractmethod
    def update(self, views: Sequence[View], targets: Sequence[Pose]) -> None:
        """Add some pairs.

        Args:
            views: the images of the pairs, as the protocol prepares them.
            targets: the requested pose of each pair, in pixels of the images.
        """

    @abstractmethod
    def scores(self) -> Scores:
        """The value of every name over all pairs; NaN where it is undefined."""


class StructureMetric(Metric):
    """SSIM, mask-SSIM and L1."""

    names = declarations.STRUCTURE.names

    def __init__(self, protocol: str, network: object = None) -> None:
        super().__init__(protocol, network)
        self.found: list[tuple[float, float, float]] = []

    def update(self, views: Sequence[View], targets: Sequence[Pose]) -> None:
        for (_, target, generated), pose in zip(views, targets, strict=True):
            height, width = target.shape[:2]
            mask = limb_mask(pose, height, width, self.protocol)
            real, shown = (bordered(image, self.protocol) for image in (target, generated))
            self.found.append(
                (
                    ssim(real, shown, self.protocol),
                    mask_ssim(target, generated, mask, self.protocol),
                    mean_difference(target, generated),
                )
            )

    def scores(self) -> Scores:
        columns = zip(self.names, np.array(self.found).T, strict=True)
        return {name: _mean(values) for name, values in columns}


class JointsMetric(Metric):
    """PCKh, with the joints that MoveNet finds in the generated image.

    Under ``patn``, the generated panel is saved as JPEG once more before the estimation, and joints
    are compared in whole pixels, as in the published tools.
    """

    names, needs = declarations.JOINTS_METRIC.names, declarations.JOINTS_METRIC.needs
    network: MoveNet

    def __init__(self, protocol: str, network: object = None) -> None:
        super().__init__(protocol, network)
        self.right = self.requested = 0

    @classmethod
    def open(cls, path: Path | str, device: torch.device) -> MoveNet:
        return MoveNet(str(path))

    @classmethod
    def fingerprint(cls, path: Path | str) -> str:
        return MoveNet(str(path)).sha256  # covers both files of the weights

    def update(self, views: Sequence[View], targets: Sequence[Pose]) -> None:
        for view, target in zip(views, targets, strict=True):
            height, width = view.generated.shape[:2]
            is_published = self.protocol == "patn"
            image = saved_as_jpeg(view.generated) if is_published else view.generated
            scored = self.network.estimate(image)
            found = without_face(pose_of(scored, THRESHOLD, (height, width)))
            if is_published:
                found = Pose(np.rint(found.xy))
            right, requested = correct_joints(target, found, self.protocol)
            self.right += right
            self.requested += requested

    def scores(self) -> Scores:
        return {"PCKh": self.right / self.requested if self.requested else float("nan")}


class InceptionMetric(Metric):
    """IS and mask-IS of the generated images, and their FID to the real targets."""

    names, needs = declarations.INCEPTION.names, declarations.INCEPTION.needs
    network: Inception

    def __init__(self, protocol: str, network: object = None) -> None:
        super().__init__(protocol, network)
        self.generated: list[torch.Tensor] = []
        self.targets: list[torch.Tensor] = []
        self.logits: list[torch.Tensor] = []
        self.masked: list[torch.Tensor] = []

    @classmethod
    def open(cls, path: Path | str, device: torch.device) -> Inception:
        return Inception(path, device)

    def update(self, views: Sequence[View], targets: Sequence[Pose]) -> None:
        generated = np.stack([view.generated for view in views])
        height, width = generated.shape[1:3]
        masks = np.stack([limb_mask(pose, height, width, self.protocol) for pose in targets])
        features, logits = self.network(generated)
        framed = bordered(generated, self.protocol)
        if framed is not generated:
            logits = self.network(framed)[1]
        self.generated.append(features)
        self.logits.append(logits)
        self.masked.append(self.network(generated * masks[..., None])[1])
        self.targets.append(self.network(np.stack([view.target for view in views]))[0])

    def scores(self) -> Scores:
        found: Scores = {}
        for name, logits in (("IS", self.logits), ("mask-IS", self.masked)):
            mean, deviation = inception_score(torch.cat(logits), self.protocol)
            found |= {name: mean, f"{name} deviation": deviation}
        return found | {"FID": frechet(torch.cat(self.generated), torch.cat(self.targets))}


def inception_score(logits: torch.Tensor, protocol: str) -> tuple[float, float]:
    """Mean and standard deviation of the Inception Score over ten parts of the images.

    ``patn`` splits the images in the order of the pairs, ``clean`` in random order.

    Args:
        logits: (N, classes). Both results are NaN for N < 10.
    """
    from torch_fidelity.metric_isc import isc_features_to_metric

    if len(logits) < INCEPTION_PARTS:
        return float("nan"), float("nan")
    found = isc_features_to_metric(
        logits, INCEPTION_PARTS, shuffle=protocol == "clean", rng_seed=SEED
    )
    return found["inception_score_mean"], found["inception_score_std"]


def frechet(generated: torch.Tensor, real: torch.Tensor) -> float:
    """Fréchet distance of features (N, D) and (M, D); NaN if N or M is below two."""
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    if min(len(generated), len(real)) < 2:
        return float("nan")
    statistics = [fid_features_to_statistics(features) for features in (generated, real)]
    result: float = fid_statistics_to_metric(*statistics, verbose=False)[
        "frechet_inception_distance"
    ]
    return result


class PerPair(Metric):
    """A metric whose values are means of one number per pair."""

    def __init__(self, protocol: str, network: object = None) -> None:
        super().__init__(protocol, network)
        self.found: list[np.ndarray] = []

    def scores(self) -> Scores:
        columns = np.concatenate(self.found, axis=1)
        return {name: _mean(row) for name, row in zip(self.names, columns, strict=True)}


class PerceptualMetric(PerPair):
    """LPIPS of the generated image to the real target; smaller is nearer."""

    names, needs = declarations.PERCEPTUAL.names, declarations.PERCEPTUAL.needs
    network: Perception

    @classmethod
    def open(cls, path: Path | str, device: torch.device) -> Perception:
        return Perception(path, device)

    def update(self, views: Sequence[View], targets: Sequence[Pose]) -> None:
        generated, real = (np.stack([view[place] for view in views]) for place in (2, 1))
        self.found.append(self.network(generated, real).numpy()[None])


class DetectorMetric(PerPair):
    """DS: the confidence of a detector that the image shows a person.

    "DS of real" is the same for the real targets.
    """

    names, needs = declarations.DETECTOR.names, declarations.DETECTOR.needs
    network: PersonDetector

    @classmethod
    def open(cls, path: Path | str, device: torch.device) -> PersonDetector:
        return PersonDetector(path, device)

    def update(self, views: Sequence[View], targets: Sequence[Pose]) -> None:
        generated, real = (np.stack([view[place] for view in views]) for place in (2, 1))
        both = [self.network(bordered(images, self.protocol)) for images in (generated, real)]
        self.found.append(torch.stack(both).numpy())


class IdentityMetric(PerPair):
    """Cosine of the features of a re-ID network, between the generated image and the source.

    "identity of real" is the cosine between the real target and the source.
    """

    names, needs = declarations.IDENTITY.names, declarations.IDENTITY.needs
    network: IdentityNetwork

    @classmethod
    def open(cls, path: Path | str, device: torch.device) -> IdentityNetwork:
        return IdentityNetwork(path, device)

    def update(self, views: Sequence[View], targets: Sequence[Pose]) -> None:
        source, real, generated = (
            self.network(np.stack([view[place] for view in views])) for place in range(3)
        )
        self.found.append(
            torch.stack([(generated * source).sum(1), (real * source).sum(1)]).numpy()
        )


def _mean(values: np.ndarray) -> float:
    """The mean of the values that are not NaN; NaN if there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
