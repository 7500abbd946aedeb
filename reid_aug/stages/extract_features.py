"""Features of images by a trained re-ID network, as a NumPy archive or as Parquet.

    features  (N, D) float32, as reid evaluate ranks them by Euclidean distance
    names     (N,) file names; in a plain folder, paths relative to it
    pids      (N,) int64, where they are known
    camids    (N,) int64, where they are known
    splits    (N,) train, query or gallery, of a data set
    about     JSON: the format, and the hashes of the network and of the images

Rows are sorted by split and name. In Parquet, each key is a column, and ``about`` is metadata of
the schema. Images are those of a data set in any layout, or all image files in a folder and below
it. In such a folder, pid and camid are known if every file name begins with them, as 0002_c1s1.
"""

import hashlib
import json
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from reid_aug.backbones.checkpoint import ReidNetwork, load_reid_network
from reid_aug.data.dataset import (
    MARKET_NAME,
    NO_CAMERA,
    Dataset,
    PersonImage,
    image_and_other_files,
    parse_name,
)
from reid_aug.data.formats import is_dataset, read_dataset
from reid_aug.evaluation.features import evaluation_transform, extract_features
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import committed, sha256
from reid_aug.runtime.progress import track
from reid_aug.runtime.records import parse_table
from reid_aug.runtime.regular_files import require_regular
from reid_aug.runtime.weights import LARGEST_FILE
from reid_aug.stages.cost import Cost
from reid_aug.stages.job import Job, Progress
from reid_aug.stages.stage import choose_device

FEATURES_FORMAT = "reid_aug.features/1"
NPZ, PARQUET = ".npz", ".parquet"
FEATURES_ABOUT = "about"
TIMED = 16  # images from which the time is estimated
NAME_BYTES = 120  # of the other columns of a row
OTHER_FILE = "choose another file with --to, or remove it"


@dataclass(frozen=True, slots=True)
class ImageList:
    """Images in the order of their rows, and what is known of them."""

    images: tuple[PersonImage, ...]
    names: tuple[str, ...]
    splits: tuple[str, ...] = ()
    """The list of each image; empty for a plain folder."""
    has_pids: bool = True
    has_cameras: bool = True

    def columns(self) -> dict[str, np.ndarray]:
        """The columns that are known, beside the features."""
        found = {"names": np.array(self.names, np.str_)}
        if self.has_pids:
            found["pids"] = np.array([image.pid for image in self.images], np.int64)
        if self.has_cameras:
            found["camids"] = np.array([image.camid for image in self.images], np.int64)
        if self.splits:
            found["splits"] = np.array(self.splits, np.str_)
        return found

    def digest(self) -> str:
        """SHA-256 of the contents and the names of the images."""
        lines = (
            f"{sha256(image.path)}  {name}\n"
            for image, name in zip(self.images, self.names, strict=True)
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def prepare(
    model: Path, images: Path, file: Path, device: str | None = None
) -> "ExtractFeaturesJob":
    """Resolve whose features are computed; nothing is written.

    Args:
        model: ``model.safetensors`` of a ``reid-aug train-reid``.
        images: a data set in any layout that is read, or a folder of images.
        file: the file to write, .npz or .parquet.
        device: as ``--device``; None means the GPU, if there is one.

    Raises:
        UserError: If an input is missing or wrong, or the file needs a package that is missing.
    """
    if file.suffix not in (NPZ, PARQUET):
        raise UserError(f"--to must be a file that ends in {NPZ} or {PARQUET}, got {file}")
    if file.suffix == PARQUET:
        parquet_library()
    chosen = choose_device(device)
    return ExtractFeaturesJob(model, load_reid_network(model), images_of(images), file, chosen)


def images_of(path: Path) -> ImageList:
    """The images of a data set, or of a folder and the folders below it.

    Raises:
        UserError: If there is none.
    """
    if path.is_file() or is_dataset(path):
        return _of_dataset(read_dataset(path))
    if not path.is_dir():
        raise UserError(f"{path}: there is no such folder; give a data set or a folder of images")
    files = sorted(_files(path), key=lambda file: file.relative_to(path).parts)
    if not files:
        raise UserError(f"{path}: must hold images (.jpg, .jpeg, .png), got none; give another")
    is_named = all(MARKET_NAME.match(file.name) for file in files)
    images = tuple(parse_name(f) if is_named else PersonImage(f, 0, NO_CAMERA) for f in files)
    names = tuple(file.relative_to(path).as_posix() for file in files)
    return ImageList(images, names, has_pids=is_named, has_cameras=is_named)


def _of_dataset(dataset: Dataset) -> ImageList:
    lists = {"train": dataset.train, "query": dataset.query, "gallery": dataset.gallery}
    images = tuple(image for some in lists.values() for image in some)
    splits = tuple(split for split, some in lists.items() for _ in some)
    names = tuple(image.name for image in images)
    return ImageList(images, names, splits, has_cameras=dataset.has_cameras)


def _files(folder: Path) -> list[Path]:
    images, others = image_and_other_files(folder)
    below = [other for other in others if other.is_dir() and not other.is_symlink()]
    return [*images, *(file for one in below for file in _files(one))]


@dataclass(frozen=True)
class ExtractFeaturesJob(Job):
    """Features to be computed and written."""

    model: Path
    network: ReidNetwork
    rows: ImageList
    file: Path
    device: torch.device

    @property
    def path(self) -> Path:
        """The file of the features."""
        return self.file

    @cached_property
    def about(self) -> dict[str, Any]:
        """What identifies the features."""
        return {
            "format": FEATURES_FORMAT,
            "model_sha256": sha256(self.model),
            "images_sha256": self.rows.digest(),
        }

    def is_done(self) -> bool:
        """Whether the file holds these features.

        Raises:
            UserError: If it holds something else.
        """
        if not self.file.exists():
            return False
        found = parse_table(_about(self.file), str(self.file), "a file of features", OTHER_FILE)
        others = [key for key, value in self.about.items() if found.content.get(key) != value]
        if others:
            raise UserError(
                f"{self.file}: holds other features, which differ in {', '.join(others)}; "
                f"{OTHER_FILE}"
            )
        return True

    def describe(self) -> str:
        """The images and what is known of them, as text; whether it is done already."""
        known = ", ".join(name for name in self.rows.columns() if name != "names")
        text = f"{len(self.rows.images)} images, {known or 'no pids'}; network {self.model}"
        return f"{text}\ndone already: {self.file}" if self.is_done() else text

    def cost(self, device: torch.device) -> Cost:
        """Time and size, from the features of a few images."""
        some, count = self.rows.images[:TIMED], len(self.rows.images)
        begin = time.perf_counter()
        features = self._features(some, device, None)
        seconds = (time.perf_counter() - begin) / len(some) * count
        return Cost(seconds, count * (features[0].nbytes + NAME_BYTES))

    def run(self, progress: Progress | None = None) -> Path:
        """Compute the features and write the file; its path.

        Raises:
            UserError: If the file holds something else, or an image does not decode.
        """
        if self.is_done():
            return self.file
        features = self._features(self.rows.images, self.device, progress)
        columns = {"features": features, **self.rows.columns()}
        write = {NPZ: _write_npz, PARQUET: _write_parquet}[self.file.suffix]
        with committed(self.file) as part:
            write(part, columns, json.dumps(self.about))
        return self.file

    def _features(
        self, images: Sequence[PersonImage], device: torch.device, progress: Progress | None
    ) -> np.ndarray:
        transform, model = evaluation_transform(self.network.size), self.network.model.to(device)
        found = extract_features(model, images, transform, device, progress=progress or track)
        result: np.ndarray = found.numpy()
        return result


def _write_npz(part: Path, columns: Mapping[str, np.ndarray], about: str) -> None:
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **columns, **{FEATURES_ABOUT: np.array(about)})


def _write_parquet(part: Path, columns: Mapping[str, np.ndarray], about: str) -> None:
    arrow = parquet_library()
    others = {name: arrow.array(column) for name, column in columns.items() if name != "features"}
    features = columns["features"]
    flat = arrow.array(features.reshape(-1))
    rows = arrow.FixedSizeListArray.from_arrays(flat, features.shape[1])
    table = arrow.table({**others, "features": rows})
    table = table.replace_schema_metadata({FEATURES_ABOUT: about})
    arrow.parquet.write_table(table, part)


def _about(file: Path) -> str:
    """The text ``about`` of a file of features.

    Raises:
        UserError: If it is no such file.
    """
    require_regular(file, LARGEST_FILE, OTHER_FILE)
    try:
        if file.suffix == PARQUET:
            found = parquet_library().parquet.read_schema(file).metadata or {}
            return str(found[FEATURES_ABOUT.encode()].decode())
        with np.load(file, allow_pickle=False) as archive:
            return str(archive[FEATURES_ABOUT])
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise UserError(f"{file}: must be a file of features, got {reason}; {OTHER_FILE}") from None


def parquet_library() -> ModuleType:
    """Return pyarrow, with its module ``parquet``.

    Raises:
        UserError: If it is not installed.
    """
    try:
        import_module("pyarrow.parquet")
        return import_module("pyarrow")
    except ImportError as error:
        raise UserError(
            f"a file {PARQUET} needs the package pyarrow ({error}); write {NPZ}, or install it "
            f'with: pip install "reid-aug[parquet]"'
        ) from None
