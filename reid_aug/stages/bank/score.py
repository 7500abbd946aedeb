"""Score the images of a bank, so that a mix can leave out bad images without a new bank.

The scores and the weights that they need are declared in :mod:`reid_aug.bank.scores`. For every
score higher is better, so ``--min-score NAME=VALUE`` has the same meaning for all:

    identity    cosine of a re-ID network's feature to the mean feature of the person's kept images
    margin      identity, minus the largest such cosine to another person
    sharpness   contrast of neighbouring pixels; 1 is that of the median kept image
    novelty     1 minus the correlation with the nearest kept image, as thumbnails; 0 is a copy
    pose        part of the target's joints that MoveNet finds within a sixteenth of the height

The first two need a network of ``reid-aug train-reid``. Its leak status is recorded with its
scores, because a mix that is filtered by the network leaks its training images. The last one needs
the weights of MoveNet, which count as trained on other data.
"""

import functools
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from reid_aug.backbones.checkpoint import load_reid_network
from reid_aug.bank import Bank, write_bank
from reid_aug.bank.card import read_card
from reid_aug.bank.scores import JOINTS_SCORE, NETWORK, PIXELS, bank_scores
from reid_aug.data.dataset import Dataset, PersonImage, kept, read_image, resize
from reid_aug.data.keypoints import Pose
from reid_aug.data.provenance import leak_status, names_sha256
from reid_aug.evaluation.features import evaluation_transform, extract_features
from reid_aug.mixing import require_same_dataset
from reid_aug.pose_estimators import MoveNet
from reid_aug.pose_estimators.joint_layouts import pose_of
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.extensions import check_weights
from reid_aug.runtime.files import sha256, write_json
from reid_aug.runtime.progress import track
from reid_aug.stages.bank.opening import open_bank
from reid_aug.stages.cost import Cost
from reid_aug.stages.job import Job, Progress

if TYPE_CHECKING:
    from reid_aug.stages.stage import Stage

SCORE_BATCH = 256
THUMBNAIL = (16, 8)  # pixels
LEAST_SURE = 0.2  # confidence of a joint of MoveNet


def prepare(
    stage: "Stage", bank: Path | str | None = None, weights: Mapping[str, Path] | None = None
) -> "ScoreBankJob":
    """Open the bank and the scores of a stage; nothing is written.

    Args:
        bank: the bank; None is that of the run folder.
        weights: as for :func:`score_bank`.

    Raises:
        UserError: As :func:`score_bank`.
    """
    opened = open_bank(stage, bank)
    return ScoreBankJob(opened, _open_for(opened, stage.dataset, weights or {}, stage.device))


@dataclass(frozen=True)
class ScoreBankJob(Job):
    """The scores of a bank, ready to be computed."""

    bank: Bank
    scores: list["BankScore"]

    @property
    def path(self) -> Path:
        """The bank, which is written again with its scores."""
        return self.bank.path

    def describe(self) -> str:
        """The number of rows and the names of the scores."""
        names = ", ".join(name for score in self.scores for name in score.names)
        return f"{len(self.bank)} images of {self.bank.path}; scores: {names}"

    def cost(self, device: torch.device) -> Cost:
        """Time, from the first batch, and the size of the bank."""
        begin = time.perf_counter()
        _scores_of(self.scores, self.bank, 0)
        batches = math.ceil(len(self.bank) / SCORE_BATCH)
        return Cost((time.perf_counter() - begin) * batches, self.bank.path.stat().st_size)

    def run(self, progress: Progress | None = None) -> Path:
        """Score every row, and write the bank again; its path."""
        _score(self.bank, self.scores, functools.partial(progress or track, what="score"))
        return self.path

    def outcome(self) -> str:
        """The range and the median of every score."""
        scores = Bank(self.path).scores
        ends = {name: np.nanquantile(values, [0, 0.5, 1]) for name, values in scores.items()}
        return "\n".join(
            f"{name}: {low:.3f} to {high:.3f}, median {middle:.3f}"
            for name, (low, middle, high) in ends.items()
        )


def score_bank(
    bank: Bank,
    dataset: Dataset,
    weights: Mapping[str, Path],
    device: torch.device,
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> dict[str, np.ndarray]:
    """Score every row, and rewrite the bank with the scores; returns them by name, (N,) each.

    Args:
        bank: the bank.
        dataset: its data set.
        weights: files of weights by the option of their score, as "scorer" and "movenet"
            (:mod:`reid_aug.bank.scores`). A score that needs weights is computed only if they are
            given.
        device: where networks compute.
        progress: wraps the first rows of the batches.

    Raises:
        UserError: If the bank is of another data set, a network was trained on test images, or
            weights cannot be read.
    """
    return _score(bank, _open_for(bank, dataset, weights, device), progress)


def _score(
    bank: Bank,
    scores: Sequence["BankScore"],
    progress: Callable[[Sequence[int]], Iterable[int]],
) -> dict[str, np.ndarray]:
    starts = progress(range(0, len(bank), SCORE_BATCH))
    parts = [_scores_of(scores, bank, start) for start in starts]
    names = [name for score in scores for name in score.names]
    found = dict(zip(names, np.concatenate(parts).T.astype(np.float32), strict=True))
    about = {name: score.about for score in scores for name in score.names}
    _write(bank, {**bank.scores, **found}, {**bank.about_scores, **about})
    return found


def _open_for(
    bank: Bank, dataset: Dataset, weights: Mapping[str, Path], device: torch.device
) -> list["BankScore"]:
    """The scores of a bank, whose pixels and data set are checked."""
    require_same_dataset(bank, dataset)
    bank.check_pixels()
    real = kept(dataset.train, bank.attributes.keep, bank.attributes.keep_seed)
    if names_sha256(real) != bank.attributes.kept_sha256:
        raise UserError(f"{bank.path}: is of another data set; give its own with --data DIR")
    return open_scores(weights, Material(dataset, real, (bank.height, bank.width), device))


def _scores_of(scores: Sequence["BankScore"], bank: Bank, start: int) -> np.ndarray:
    """The scores of one batch of rows, (B, number of names)."""
    stop = min(start + SCORE_BATCH, len(bank))
    pids, keypoints = bank.rows.pid[start:stop], bank.rows.keypoints[start:stop]
    batch = ScoredRows(bank.images(start, stop), pids, keypoints)
    return np.hstack([score.scores(batch) for score in scores])


def open_scores(weights: Mapping[str, Path], material: "Material") -> list["BankScore"]:
    """The scores that need no weights, and those whose weights are given.

    Raises:
        UserError: If weights are given to a score that needs none, or two scores have one name.
    """
    declarations = bank_scores()
    check_weights(declarations, [*weights])
    found: list[BankScore] = []
    names: set[str] = set()
    for declaration in declarations:
        kind = declaration.load()
        if kind.needs and declaration.option not in weights:
            continue
        if taken := names & {*kind.names}:
            raise UserError(
                f"{declaration.path}: the name of a score must differ from those of others, got "
                f"{min(taken)}; rename it in the package that declares it"
            )
        names |= {*kind.names}
        found.append(kind(material, weights.get(declaration.option)))
    return found


def _write(bank: Bank, scores: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    path = bank.path.with_suffix(".json")
    card = read_card(bank.path).content if path.exists() else None
    about = {name: about[name] for name in sorted(about)}  # the same card when it is scored again
    attributes = bank.attributes.unwritten(scores=about)
    pixels = (bank.images(start, start + SCORE_BATCH) for start in range(0, len(bank), SCORE_BATCH))
    write_bank(bank.path, bank.rows, pixels, attributes, scores)
    if card is not None:
        written = Bank(bank.path).attributes.content_sha256
        fresh = {"scores": about, "bank_sha256": sha256(bank.path), "content_sha256": written}
        write_json(path, {**card, **fresh})


class ScoredRows(NamedTuple):
    """Rows of a bank: images (B, H, W, 3) uint8, pids (B,) and target poses (B, 18, 2)."""

    images: np.ndarray
    pids: np.ndarray
    keypoints: np.ndarray


@dataclass(frozen=True, slots=True)
class Material:
    """What a bank is scored with."""

    dataset: Dataset
    real: tuple[PersonImage, ...]
    """The kept training images."""
    size: tuple[int, int]
    """(height, width) of the bank's images, in pixels."""
    device: torch.device
    """Where networks compute."""


class BankScore(ABC):
    """One or more scores of the rows of a bank; larger is better.

    An installed package adds one through the entry point group ``reid_aug.bank_scores``
    (:mod:`reid_aug.runtime.extensions`). The name of the entry point is the option of the weights.

    Args:
        material: the data set of the bank.
        weights: the file of weights; None if ``needs`` is "".

    Raises:
        UserError: If the weights cannot be read.
    """

    names: ClassVar[tuple[str, ...]]
    """The names of the scores, as ``--min-score`` takes them."""
    needs: ClassVar[str] = ""
    """The file of weights, in words; "" if the scores need none."""

    def __init__(self, material: Material, weights: Path | None) -> None:
        self.material, self.weights = material, weights

    @property
    def about(self) -> dict[str, Any]:
        """What the scores were made with, as JSON values.

        ``data`` is the leak status of the network (:mod:`reid_aug.data.provenance`): "kept" for
        scores without weights, else "whole", unless the class overrides it. ``scorer_sha256`` is
        the hash of the weights.
        """
        if self.weights is None:
            return {"data": "kept"}
        return {"data": "whole", "scorer_sha256": sha256(self.weights)}

    @abstractmethod
    def scores(self, batch: ScoredRows) -> np.ndarray:
        """The scores of some rows, (B, len(names))."""


class PixelScore(BankScore):
    """Scores computed from pixels: sharpness and novelty."""

    names = PIXELS.names

    def __init__(self, material: Material, weights: Path | None = None) -> None:
        super().__init__(material, weights)
        thumbnails, contrasts = [], []
        for image in material.real:
            pixels = read_image(image.path, *material.size)[None]
            thumbnails.append(_thumbnails(pixels))
            contrasts.append(_contrast(pixels))
        self.known = np.concatenate(thumbnails)
        self.usual = max(float(np.median(np.concatenate(contrasts))), 1e-6)

    def scores(self, batch: ScoredRows) -> np.ndarray:
        """Sharpness and novelty of each image, (B, 2)."""
        images = batch.images
        own = _thumbnails(images)
        mirrored = _thumbnails(images[:, :, ::-1])
        nearest = np.maximum((own @ self.known.T).max(1), (mirrored @ self.known.T).max(1))
        return np.stack([_contrast(images) / self.usual, 1 - nearest], 1)


def _contrast(images: np.ndarray) -> np.ndarray:
    """Standard deviation of the Laplacian of the grey images, (B,)."""
    grey = images.mean(3)
    centre, sides = grey[:, 1:-1, 1:-1], grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1]
    sides = sides + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    result: np.ndarray = (sides - 4 * centre).std((1, 2))
    return result


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """Flattened thumbnails with mean 0 and length 1, (B, n)."""
    small = np.stack([resize(np.ascontiguousarray(image), *THUMBNAIL) for image in images])
    flat = small.reshape(len(small), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    result: np.ndarray = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return result


class NetworkScore(BankScore):
    """Scores computed by a re-ID network: identity and margin."""

    names, needs = NETWORK.names, NETWORK.needs

    def __init__(self, material: Material, weights: Path) -> None:
        super().__init__(material, weights)
        real, device = material.real, material.device
        network = load_reid_network(weights)
        self.leak_status = leak_status(network.trained_on, material.dataset, real, "scorer")
        self.model, self.device = network.model.to(device), device
        self.transform = evaluation_transform(network.size)
        features = F.normalize(extract_features(self.model, real, self.transform, device), dim=1)
        pids = torch.tensor([image.pid for image in real])
        self.pids = pids.unique()
        self.means = F.normalize(
            torch.stack([features[pids == pid].mean(0) for pid in self.pids]), dim=1
        )

    @property
    def about(self) -> dict[str, Any]:
        return {**super().about, "data": self.leak_status}

    @torch.inference_mode()
    def scores(self, batch: ScoredRows) -> np.ndarray:
        """Identity and margin of each image, (B, 2)."""
        inputs = torch.stack([self.transform(Image.fromarray(image)) for image in batch.images])
        near = F.normalize(self.model(inputs.to(self.device)).float().cpu(), dim=1) @ self.means.T
        is_own: Tensor = torch.from_numpy(batch.pids.astype(np.int64))[:, None] == self.pids
        own = near[is_own]
        others = near.masked_fill(is_own, -1.0).amax(1)
        return torch.stack([own, own - others], 1).numpy()


class JointsScore(BankScore):
    """A score of a pose estimator: how well the image shows the target pose."""

    names, needs = JOINTS_SCORE.names, JOINTS_SCORE.needs

    def __init__(self, material: Material, weights: Path) -> None:
        super().__init__(material, weights)
        self.estimator = MoveNet(str(weights))

    @property
    def about(self) -> dict[str, Any]:
        return {"data": "external", "scorer_sha256": self.estimator.sha256}

    def scores(self, batch: ScoredRows) -> np.ndarray:
        """The score pose of each image, (B, 1); 0 for a target without joints."""
        pairs = zip(batch.images, batch.keypoints, strict=True)
        return np.array([[self._agreement(*pair)] for pair in pairs])

    def _agreement(self, image: np.ndarray, target: np.ndarray) -> float:
        height, width = image.shape[:2]
        found = pose_of(self.estimator.estimate(image), LEAST_SURE, (height, width)).xy
        near = np.hypot(*(found - target).T) < height / 16  # False if a joint is unseen in either
        return float(near.sum() / max(1, Pose(target).seen.sum()))
