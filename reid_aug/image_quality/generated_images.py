"""The generated images of pairs: from a generator, or from a folder of images made elsewhere.

A folder holds one file per pair, named ``SOURCE___TARGET`` with any image suffix, as the published
tool names them: ``0002_c1s1_000451_03.jpg___0002_c2s1_000301_01.jpg_vis.jpg``. A file is a single
crop, or the published sheet of five panels. A sheet was saved as JPEG already and is used as it is.
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
from reid_aug.runtime.regular_files import IMAGE, read_bytes

BETWEEN, MARK = "___", "_vis"


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a pair at the size of the generated images: (H, W, 3) uint8, and its pose."""

    image: PersonImage
    pixels: np.ndarray
    pose: Pose


@dataclass(frozen=True, slots=True)
class Gallery:
    """The images that pairs name, their poses, and the size to which they are resized."""

    images: Mapping[str, PersonImage]
    poses: Mapping[str, Pose]
    data: DataConfig

    def read(self, name: str) -> Picture:
        """Read the image of that name."""
        size = self.data.height, self.data.width
        original = open_image(self.images[name].path)
        pose = self.poses.get(name, NO_POSE).resized(original.shape[:2], size)
        return Picture(self.images[name], resize(original, *size), pose)


class GeneratedImages(ABC):
    """A source of generated images."""

    about: dict[str, Any]
    """What identifies the source in a result, as JSON values."""

    def to(self, device: torch.device) -> None:
        """Compute on ``device`` from now on."""
        return

    @abstractmethod
    def generate(self, pairs: Sequence[tuple[Picture, Picture]]) -> list[dict[str, View]]:
        """The images of each pair, by protocol."""


class ImagesOfGenerator(GeneratedImages):
    """Images from a generator.

    Raises:
        UserError: If there is no such generator, or it was trained on test images.
    """

    def __init__(self, path: Path, dataset: Dataset, device: torch.device) -> None:
        self.path, self.device = path, device
        self.generator, metadata = load_with_metadata(path)
        ready_to_generate(self.generator, device)
        data = leak_status(recorded_fingerprints(metadata), dataset, dataset.train)
        self.about = {
            "generator_sha256": sha256(path),
            "generator_data": data,
            "vgg_sha256": metadata.get("vgg_sha256"),  # None: trained without perceptual loss
        }

    def to(self, device: torch.device) -> None:
        if device != self.device:  # a generator that was prepared for one device stays there
            self.generator, self.device = load_with_metadata(self.path)[0], device
            ready_to_generate(self.generator, device)

    @torch.inference_mode()
    def generate(self, pairs: Sequence[tuple[Picture, Picture]]) -> list[dict[str, View]]:
        pixels = torch.from_numpy(np.stack([source.pixels for source, _ in pairs]))
        xy = torch.from_numpy(np.stack([[end.pose.xy for end in pair] for pair in pairs]))
        camids = torch.tensor([[end.image.camid for end in pair] for pair in pairs])
        image, xy, camids = (part.to(self.device) for part in (to_signed(pixels), xy, camids))
        generated = self.generator.repose(image, xy[:, 0], xy[:, 1], camids)
        signed = generated.float().permute(0, 2, 3, 1).cpu().numpy()
        return [
            views(source.pixels, target.pixels, each, (source.pose, target.pose))
            for (source, target), each in zip(pairs, signed, strict=True)
        ]


class ImagesOfFolder(GeneratedImages):
    """Images from a folder.

    Raises:
        UserError: If a pair has no file, or the folder has none.
    """

    def __init__(self, folder: Path, pairs: Sequence[Pair]) -> None:
        self.files = files_of(pairs, folder)
        digest = hashlib.sha256()
        for pair in pairs:
            digest.update(read_bytes(self.files[pair], IMAGE))
        # the training data of their generator is unknown, so the worst is assumed
        self.about = {"images_sha256": digest.hexdigest(), "generator_data": "whole"}

    def generate(self, pairs: Sequence[tuple[Picture, Picture]]) -> list[dict[str, View]]:
        return [self._view(*pair) for pair in pairs]

    def _view(self, source: Picture, target: Picture) -> dict[str, View]:
        height, width = target.pixels.shape[:2]
        found = open_generated(self.files[source.image.name, target.image.name], height, width)
        if isinstance(found, View):
            clean = View(source.pixels, target.pixels, found.generated)
            return {"patn": found, "clean": clean}
        return views(source.pixels, target.pixels, found, (source.pose, target.pose))


def generated_files(folder: Path) -> dict[Pair, Path]:
    """The generated images of a folder by their pair, whose names have no suffix.

    Raises:
        UserError: If there is none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; give that of the generated images")
    files = {}
    for path in image_files(folder):
        source, between, target = path.stem.removesuffix(MARK).partition(BETWEEN)
        if between:
            files[_plain((source, target))] = path
    if not files:
        raise UserError(
            f"{folder}: must hold generated images named SOURCE{BETWEEN}TARGET, got none"
        )
    return files


def files_of(pairs: Sequence[Pair], folder: Path) -> dict[Pair, Path]:
    """The generated image of every pair.

    Raises:
        UserError: If one is missing.
    """
    files = generated_files(folder)
    missing = [pair for pair in pairs if _plain(pair) not in files]
    if missing:
        raise UserError(
            f"{folder}: must hold a generated image of every pair, got none for {len(missing)} of "
            f"{len(pairs)}; the first is {BETWEEN.join(missing[0])}"
        )
    return {pair: files[_plain(pair)] for pair in pairs}


def open_generated(path: Path, height: int, width: int) -> np.ndarray | View:
    """Read a crop (height, width, 3) uint8, or the panels of a sheet.

    Raises:
        UserError: If the file is neither.
    """
    image = open_image(path)
    if image.shape[:2] == (height, width):
        return image
    if image.shape[:2] != (height, PANELS * width):
        raise UserError(
            f"{path}: must be {width} or, with five panels, {PANELS * width} pixels wide and "
            f"{height} high, got {image.shape[1]}x{image.shape[0]}"
        )
    return cut(image)


def _plain(pair: Pair) -> Pair:
    """The names of a pair without their suffixes."""
    source, target = (
        name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in SUFFIXES else name
        for name in pair
    )
    return source, target
