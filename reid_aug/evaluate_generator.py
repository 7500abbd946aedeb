"""Judge a generator, or a folder of somebody's drawings, on a list of pairs.

The list is the published one, made from the key points (:mod:`reid_aug.pair_lists`), or any other.
Drawings are streamed: a batch is drawn, seen under both protocols by every judge, and forgotten.
What comes out is ``quality.json``. Somebody's drawings lie in a folder (:mod:`reid_aug.drawings`).
"""

import hashlib
import json
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reid_aug import __version__
from reid_aug.dataset import DataConfig, Dataset, PersonImage, open_image, resize
from reid_aug.drawings import files_of, open_drawing
from reid_aug.errors import UserError
from reid_aug.files import sha256, write_json
from reid_aug.generator import load_noted, to_signed
from reid_aug.image_quality import JUDGES, PROTOCOLS, Judge, View, views
from reid_aug.pair_lists import TEST_PAIRS, Pair, pairs_sha256, read_pairs, sampled_pairs
from reid_aug.poses import NO_POSE, Pose
from reid_aug.provenance import seen_status

FORMAT = "reid_aug.quality/1"
RESULT = "quality.json"
BATCH = 16
LIBRARIES = ("scikit-image", "torch-fidelity", "torchmetrics", "torch", "torchvision", "Pillow")


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a pair at the size of the drawings: (H, W, 3) uint8 pixels, and the pose."""

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


class Drawings(ABC):
    """Where drawings come from; ``about`` says so in a result."""

    about: dict[str, Any]

    @abstractmethod
    def draw(self, pairs: Sequence[tuple[Picture, Picture]]) -> list[dict[str, View]]:
        """Each pair as every protocol sees it."""


class GeneratorDrawings(Drawings):
    """What a generator draws.

    Raises:
        UserError: If there is no such generator, or it was trained on test images.
    """

    def __init__(self, path: Path, dataset: Dataset, device: torch.device) -> None:
        self.generator, notes = load_noted(path)
        self.generator.to(device)
        self.device = device
        data = seen_status(notes.get("seen", ""), dataset, dataset.train)
        self.about = {"generator_sha256": sha256(path), "generator_data": data}

    @torch.inference_mode()
    def draw(self, pairs: Sequence[tuple[Picture, Picture]]) -> list[dict[str, View]]:
        pixels = torch.from_numpy(np.stack([source.pixels for source, _ in pairs]))
        xy = torch.from_numpy(np.stack([[end.pose.xy for end in pair] for pair in pairs]))
        camids = torch.tensor([[end.image.camid for end in pair] for pair in pairs])
        image, xy, camids = (part.to(self.device) for part in (to_signed(pixels), xy, camids))
        drawn = self.generator.redraw(image, xy[:, 0], xy[:, 1], camids)
        signed = drawn.float().permute(0, 2, 3, 1).cpu().numpy()
        return [
            views(source.pixels, target.pixels, each, (source.pose, target.pose))
            for (source, target), each in zip(pairs, signed, strict=True)
        ]


class FolderDrawings(Drawings):
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
        self.about = {"drawings_sha256": digest.hexdigest(), "generator_data": "whole"}

    def draw(self, pairs: Sequence[tuple[Picture, Picture]]) -> list[dict[str, View]]:
        return [self._view(*pair) for pair in pairs]

    def _view(self, source: Picture, target: Picture) -> dict[str, View]:
        height, width = target.pixels.shape[:2]
        drawn = open_drawing(self.files[source.image.name, target.image.name], height, width)
        if isinstance(drawn, View):
            clean = View(source.pixels, target.pixels, drawn.generated)
            return {"patn": drawn, "clean": clean}
        return views(source.pixels, target.pixels, drawn, (source.pose, target.pose))


@dataclass(frozen=True, slots=True)
class Job:
    """What is judged: pairs, where they come from, drawings, and who judges.

    ``weights`` are paths by the name of their option, as in :data:`reid_aug.image_quality.JUDGES`.
    """

    pairs: list[Pair]
    gallery: Gallery
    drawings: Drawings
    weights: Mapping[str, str] = field(default_factory=dict)

    def about(self) -> dict[str, Any]:
        """What a result is of; two results with the same answer are the same."""
        return {
            "format": FORMAT,
            "pairs": len(self.pairs),
            "pairs_sha256": pairs_sha256(self.pairs),
            "height": self.gallery.data.height,
            "width": self.gallery.data.width,
            **self.drawings.about,
            "weights": {name: _fingerprint(path) for name, path in sorted(self.weights.items())},
        }

    def missing(self) -> dict[str, str]:
        """Measures that nobody can take, and the file they need."""
        return {
            measure: f"not measured: needs {judge.needs}, --{option} FILE"
            for option, judge in JUDGES.items()
            if judge.needs and option not in self.weights
            for measure in judge.measures
        }


def _fingerprint(path: str) -> str:
    if not Path(path).is_file():
        raise UserError(f"{path} is missing; give the path of a weight file that exists")
    return sha256(path)


def choose_pairs(
    dataset: Dataset, poses: Mapping[str, Pose], file: str | None, count: int | None
) -> tuple[list[Pair], dict[str, PersonImage]]:
    """The pairs to judge by, and the images they name.

    Without a file: the published rule over the gallery, in the order of the key-point file's rows.

    Raises:
        UserError: If a file names an image that is not there, or there is no pair.
    """
    images = {image.name: image for image in (*dataset.train, *dataset.query, *dataset.gallery)}
    if file is None:
        gallery = {image.name for image in dataset.gallery}
        shown = {name: pose for name, pose in poses.items() if name in gallery}
        return sampled_pairs(shown, TEST_PAIRS if count is None else count), images
    pairs = read_pairs(file)
    for number, pair in enumerate(pairs, start=2):
        for name in pair:
            if name not in images:
                raise UserError(
                    f"{file}: line {number}: {name} must be the name of an image of the data set, "
                    f"and is not"
                )
    return pairs[:count], images


def evaluate_generator(
    job: Job,
    folder: Path,
    device: torch.device,
    progress: Callable[[Sequence], Iterable] = iter,
) -> Path:
    """Judge, and write ``quality.json`` into ``folder``; the path.

    Raises:
        UserError: If the folder holds the quality of something else, or weights cannot be read.
    """
    path, about = folder / RESULT, job.about()
    if finished(path, about):
        return path
    judges = open_judges(job.weights, device)
    starts = range(0, len(job.pairs), BATCH)
    for start in progress(starts):
        _judge(job, job.pairs[start : start + BATCH], judges)
    measures: dict[str, dict[str, float | None]] = {}
    for protocol, row in judges.items():
        for judge in row:
            for name, value in judge.scores().items():
                measures.setdefault(name, {})[protocol] = None if isnan(value) else value
    versions = {name: version(name) for name in LIBRARIES}
    versions |= {"reid-aug": __version__, "python": platform.python_version()}
    result = {**about, "measures": measures, "missing": job.missing(), "versions": versions}
    write_json(path, result)
    return path


def open_judges(weights: Mapping[str, str], device: torch.device) -> dict[str, list[Judge]]:
    """Everybody who can judge, by protocol; each network is read once."""
    judges: dict[str, list[Judge]] = {protocol: [] for protocol in PROTOCOLS}
    for option, judge in JUDGES.items():
        if judge.needs and option not in weights:
            continue
        network = judge.open(weights[option], device) if judge.needs else None
        for protocol in PROTOCOLS:
            judges[protocol].append(judge(protocol, network))
    return judges


def _judge(job: Job, pairs: Sequence[Pair], judges: Mapping[str, Sequence[Judge]]) -> None:
    read = [(job.gallery.read(source), job.gallery.read(target)) for source, target in pairs]
    seen = job.drawings.draw(read)
    poses = [target.pose for _, target in read]
    for protocol, row in judges.items():
        for judge in row:
            judge.look([each[protocol] for each in seen], poses)


def finished(path: Path, about: Mapping[str, Any]) -> bool:
    """Whether ``path`` holds the result of this.

    Raises:
        UserError: If it holds another one's.
    """
    if not path.is_file():
        return False
    result = read_quality(path)
    others = [key for key, value in about.items() if result.get(key) != value]
    if others:
        raise UserError(
            f"{path}: holds the quality of something else, which differs in {', '.join(others)}; "
            f"choose another folder with --out, or remove the file"
        )
    return True


def read_quality(path: Path) -> dict[str, Any]:
    """Read a ``quality.json``."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if result["format"] == FORMAT:
            return result
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UserError(f"{path}: must be a result of generator evaluate ({FORMAT}); remove the file")


def table(result: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a result's table, the protocol named in every column's head."""
    yield f"{result['pairs']} pairs, list {result['pairs_sha256'][:8]}"
    yield f"{'measure':<18}" + "".join(f"{protocol:>10}" for protocol in PROTOCOLS)
    for name, values in result["measures"].items():
        cells = [values[protocol] for protocol in PROTOCOLS]
        shown = ["undefined" if cell is None else f"{cell:.4f}" for cell in cells]
        yield f"{name:<18}" + "".join(f"{cell:>10}" for cell in shown)
    for name, reason in result["missing"].items():
        yield f"{name:<18}  {reason}"
