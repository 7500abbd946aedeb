"""Where generated of pairs come from: a generator, or a folder of what somebody else drew.

In a folder there is one file a pair, named after it:
``SOURCE___TARGET`` with any image suffix, as the published tool writes them:
``0002_c1s1_000451_03.jpg___0002_c2s1_000301_01.jpg_vis.jpg``. A file is a single crop, or the
published sheet of five panels, which has been through JPEG already and is taken as it is.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reid_aug.data.dataset import (
    SUFFIXES,
    DataConfig,
    Dataset,
    PersonImage,
    image_files,
    open_image,
    resize,
)
from reid_aug.data.keypoints import NO_POSE, Pose
from reid_aug.data.pair_lists import Pair
from reid_aug.data.provenance import leak_status, recorded_fingerprints
from reid_aug.generator import load_with_metadata, ready_to_generate, to_signed
from reid_aug.image_quality import View, cut, views
from reid_aug.image_quality.protocols import PANELS
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256

BETWEEN, MARK = "___", "_vis"


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a pair at the size of the generated: (H, W, 3) uint8 pixels, and the pose."""

    image: PersonImage
    pixels: np.ndarray
    pose: Pose


@dataclass(frozen=True, slots=True)
class Gallery:
    """The images that pairs name, their poses, and the size they are looked at."""

    images: Mapping[str, PersonImage]
    poses: Mapping[str, Pose]
    data: DataConfig

    def read(self, name: str) -> Picture:
        """One of the images."""
        size = self.data.height, self.data.width
        original = open_image(self.images[name].path)
        pose = self.poses.get(name, NO_POSE).resized(original.shape[:2], size)
        return Picture(self.images[name], resize(original, *size), pose)


class GeneratedImages(ABC):
    """Where generated come from; ``about`` says so in a result."""

    about: dict[str, Any]

    @abstractmethod
    def draw(self, pairs: Sequence[tuple[Picture, Picture]]) -> list[dict[str, View]]:
        """Each pair as every protocol sees it."""


class ImagesOfGenerator(GeneratedImages):
    """What a generator draws.

    Raises:
        UserError: If there is no such generator, or it was trained on test images.
    """

    def __init__(self, path: Path, dataset: Dataset, device: torch.device) -> None:
        self.generator, notes = load_with_metadata(path)
        ready_to_generate(self.generator, device)
        self.device = device
        data = leak_status(recorded_fingerprints(notes), dataset, dataset.train)
        self.about = {
            "generator_sha256": sha256(path),
            "generator_data": data,
            "vgg_sha256": notes.get("vgg_sha256"),  # None: its perceptual loss was off
        }

    @torch.inference_mode()
    def draw(self, pairs: Sequence[tuple[Picture, Picture]]) -> list[dict[str, View]]:
        pixels = torch.from_numpy(np.stack([source.pixels for source, _ in pairs]))
        xy = torch.from_numpy(np.stack([[end.pose.xy for end in pair] for pair in pairs]))
        camids = torch.tensor([[end.image.camid for end in pair] for pair in pairs])
        image, xy, camids = (part.to(self.device) for part in (to_signed(pixels), xy, camids))
        drawn = self.generator.repose(image, xy[:, 0], xy[:, 1], camids)
        signed = drawn.float().permute(0, 2, 3, 1).cpu().numpy()
        return [
            views(source.pixels, target.pixels, each, (source.pose, target.pose))
            for (source, target), each in zip(pairs, signed, strict=True)
        ]


class ImagesOfFolder(GeneratedImages):
    """What somebody else drew.

    Raises:
        UserError: If a pair has no file, or the folder none at all.
    """

    def __init__(self, folder: Path, pairs: Sequence[Pair]) -> None:
        self.files = files_of(pairs, folder)
        digest = hashlib.sha256()
        for pair in pairs:
            digest.update(self.files[pair].read_bytes())
        # nobody noted what made them, which is taken for the worst
        self.about = {"images_sha256": digest.hexdigest(), "generator_data": "whole"}

    def draw(self, pairs: Sequence[tuple[Picture, Picture]]) -> list[dict[str, View]]:
        return [self._view(*pair) for pair in pairs]

    def _view(self, source: Picture, target: Picture) -> dict[str, View]:
        height, width = target.pixels.shape[:2]
        drawn = open_generated(self.files[source.image.name, target.image.name], height, width)
        if isinstance(drawn, View):
            clean = View(source.pixels, target.pixels, drawn.generated)
            return {"patn": drawn, "clean": clean}
        return views(source.pixels, target.pixels, drawn, (source.pose, target.pose))


def generated_files(folder: Path) -> dict[Pair, Path]:
    """The generated of a folder by their pair, names without suffix.

    Raises:
        UserError: If there is none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; give that of the generated")
    files = {}
    for path in image_files(folder):
        source, between, target = path.stem.removesuffix(MARK).partition(BETWEEN)
        if between:
            files[_plain((source, target))] = path
    if not files:
        raise UserError(f"{folder}: must hold generated named SOURCE{BETWEEN}TARGET, got none")
    return files


def files_of(pairs: Sequence[Pair], folder: Path) -> dict[Pair, Path]:
    """The drawing of every pair.

    Raises:
        UserError: If one is missing.
    """
    files = generated_files(folder)
    missing = [pair for pair in pairs if _plain(pair) not in files]
    if missing:
        raise UserError(
            f"{folder}: must hold a drawing of every pair, got none of {len(missing)} of "
            f"{len(pairs)}; the first is {BETWEEN.join(missing[0])}"
        )
    return {pair: files[_plain(pair)] for pair in pairs}


def open_generated(path: Path, height: int, width: int) -> np.ndarray | View:
    """A crop (height, width, 3) uint8; of a sheet, its panels.

    Raises:
        UserError: If the file is neither.
    """
    drawn = open_image(path)
    if drawn.shape[:2] == (height, width):
        return drawn
    if drawn.shape[:2] != (height, PANELS * width):
        raise UserError(
            f"{path}: must be {width} or, with five panels, {PANELS * width} pixels wide and "
            f"{height} high, got {drawn.shape[1]}x{drawn.shape[0]}"
        )
    return cut(drawn)


def _plain(pair: Pair) -> Pair:
    """A pair of names without suffixes."""
    source, target = (
        name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in SUFFIXES else name
        for name in pair
    )
    return source, target
