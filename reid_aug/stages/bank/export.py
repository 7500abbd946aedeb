"""Write a bank as a folder in Market-1501 layout, for any re-ID code.

    bounding_box_train/   0002_c1s9_000017_00.jpg: pid 2, camid 1, bank row 17 ("s9": generated)
    query/ bounding_box_test/
    keypoints.csv         the target poses
    export.json           what identifies the export, so that the same command finds it done
    provenance.csv        file, pid, camid, source, target and the scores; ``bank import`` reads it

In the layout "folders", the training images of an identity lie in a folder of its own, named by its
pid with four digits, as torchvision's ``ImageFolder`` and others read them: train/0002/..., and
query and gallery likewise.

The folder appears under its name only when it is complete.
"""

import csv
import functools
import io
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from reid_aug.bank import Bank
from reid_aug.data.dataset import FOLDERS, KEYPOINTS, Dataset
from reid_aug.data.formats.writing import market_name, require_cameras
from reid_aug.data.keypoints import Pose, write_keypoints
from reid_aug.data.provenance import content_sha256, keypoints_sha256
from reid_aug.mixing import Mix, require_same_dataset
from reid_aug.runtime.errors import UserError, nearest
from reid_aug.runtime.files import new_folder, write_json
from reid_aug.runtime.progress import track
from reid_aug.runtime.records import read_table
from reid_aug.stages.cost import Cost
from reid_aug.stages.job import Job, Progress
from reid_aug.stages.mix import resolve_mix

if TYPE_CHECKING:
    from reid_aug.stages.stage import Stage

PROVENANCE, EXPORT = "provenance.csv", "export.json"
EXPORT_FORMAT = "reid_aug.export/1"
EXPORT_COLUMNS = ("file", "pid", "camid", "source", "target")
MARKET, CLASSES = "market1501", "folders"
LAYOUTS = {MARKET: FOLDERS, CLASSES: ("train", "query", "gallery")}  # the folders of the lists
EXPORT_JPEG_QUALITY = 95  # of the JPEG files; colours are not subsampled


def prepare(
    stage: "Stage",
    folder: Path,
    ratio: float | None = None,
    mode: str | None = None,
    bank: Path | str | None = None,
    min_score: Iterable[str] = (),
    with_real: bool = False,
    layout: str = MARKET,
) -> "ExportBankJob":
    """Choose the mix that is exported; nothing is written.

    Args:
        folder: the folder to write.
        ratio: as ``mode``, ``bank`` and ``min_score``, those of
            :func:`reid_aug.stages.mix.resolve_mix`.
        with_real: whether the real images of the mix are written too.
        layout: one of ``LAYOUTS``.

    Raises:
        UserError: As :func:`export_bank`, or if the bank does not fit.
    """
    check_layout(layout)
    mix = resolve_mix(stage, ratio, mode, bank, min_score)
    _bank_of(mix)
    return ExportBankJob(stage, mix, folder, with_real, layout)


@dataclass(frozen=True)
class ExportBankJob(Job):
    """The images of a mix, ready to be written as a data set."""

    stage: "Stage"
    mix: Mix
    folder: Path
    with_real: bool
    layout: str

    @property
    def path(self) -> Path:
        """The folder of the data set."""
        return self.folder

    @property
    def images(self) -> int:
        """The number of training images that are written."""
        return self.mix.generated + (len(self.mix.real) if self.with_real else 0)

    def describe(self) -> str:
        """The number of generated images, and what limits it."""
        return f"{self.mix.generated} generated images{self.mix.note}"

    def cost(self, device: torch.device) -> Cost:
        """Time and size of all images, from one generated image."""
        begin, file = time.perf_counter(), io.BytesIO()
        pixels = self.mix.image(len(self.mix) - 1)
        _save(pixels, file)
        others = len(self.stage.dataset.query) + len(self.stage.dataset.gallery)
        count = self.images + others
        return Cost((time.perf_counter() - begin) * count, len(file.getvalue()) * count)

    def run(self, progress: Progress | None = None) -> Path:
        """Write the folder, which appears complete; its path."""
        stage, shown = self.stage, functools.partial(progress or track, what="export")
        export_bank(
            self.mix,
            stage.dataset,
            stage.poses_if_any,
            self.folder,
            self.with_real,
            shown,
            self.layout,
        )
        return self.folder

    def outcome(self) -> str:
        """The number of training images."""
        return f"{self.images} training images"


def export_bank(
    mix: Mix,
    dataset: Dataset,
    poses: dict[str, Pose],
    folder: Path,
    with_real: bool,
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
    layout: str = MARKET,
) -> int:
    """Write the generated images of a mix, and optionally its real ones; returns their number.

    Args:
        mix: the training set.
        dataset: the source of query and gallery.
        poses: keypoints of the real images by file name.
        folder: the folder to write, missing or empty; it appears complete or not at all. A folder
            with the same export is left as it is.
        with_real: whether the real images of the mix are written too.
        progress: wraps the rows, to show the progress.
        layout: one of ``LAYOUTS``.

    Raises:
        UserError: If the folder is not empty, the mix has no generated image, or its bank
            belongs to another data set.
    """
    check_layout(layout)
    bank = _bank_of(mix)
    require_same_dataset(bank, dataset)
    require_cameras((*dataset.train, *dataset.query, *dataset.gallery))
    real = mix.real if with_real else ()
    lists = (real, dataset.query, dataset.gallery)
    images = [image for images in lists for image in images]
    about = {
        "format": EXPORT_FORMAT,
        "layout": layout,
        "rows_sha256": mix.rows_sha256(),
        "images_sha256": content_sha256(images),
        "keypoints_sha256": keypoints_sha256(images, poses),
    }
    if _holds(folder, about):
        return mix.generated + len(real)
    with new_folder(folder) as part:
        places = LAYOUTS[layout]
        for name in places:
            (part / name).mkdir()
        known = _write_rows(bank, mix.generated_rows, part, progress, layout)
        for name, some in zip(places, lists, strict=True):
            for image in some:
                file = part / name / file_in(layout, image.pid, market_name(image))
                file.parent.mkdir(exist_ok=True)
                shutil.copyfile(image.path, file)
        known |= {market_name(i): poses[i.name] for i in images if i.name in poses}
        write_keypoints(part / KEYPOINTS, known)
        write_json(part / EXPORT, about)
    return mix.generated + len(real)


def _bank_of(mix: Mix) -> Bank:
    if mix.bank is None or not mix.generated:
        raise UserError("there is nothing to export: the mix has no generated image")
    return mix.bank


def _holds(folder: Path, about: Mapping[str, object]) -> bool:
    """Whether ``folder`` is the export that ``about`` identifies; it appeared complete."""
    path = folder / EXPORT
    return path.is_file() and read_table(path, "the label of an export").content == about


def file_name(bank: Bank, row: int) -> str:
    """The file name of a row of the bank."""
    return f"{bank.rows.pid[row]:04d}_c{bank.rows.camid[row]}s9_{row:06d}_00.jpg"


def check_layout(layout: str) -> None:
    """Raise a UserError unless there is such a layout."""
    if layout not in LAYOUTS:
        raise UserError(
            f"--layout must be one of {', '.join(LAYOUTS)}, got {layout!r}"
            f"{nearest(layout, LAYOUTS)}"
        )


def file_in(layout: str, pid: int, name: str) -> str:
    """The path of an image inside the folder of its list."""
    return f"{pid:04d}/{name}" if layout == CLASSES else name


def _save(pixels: np.ndarray, file: Path | io.BytesIO) -> None:
    Image.fromarray(pixels).save(file, "JPEG", quality=EXPORT_JPEG_QUALITY, subsampling=0)


def _write_rows(
    bank: Bank,
    rows: Sequence[int],
    part: Path,
    progress: Callable[[Sequence[int]], Iterable[int]],
    layout: str,
) -> dict[str, Pose]:
    poses = {}
    with (part / PROVENANCE).open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow([*EXPORT_COLUMNS, *bank.scores])
        for row in progress(rows):
            entry, name = bank[row], file_name(bank, row)
            inside = file_in(layout, entry.pid, name)
            file_ = part / LAYOUTS[layout][0] / inside
            file_.parent.mkdir(exist_ok=True)
            _save(entry.image, file_)
            poses[name] = Pose(entry.keypoints)
            scores = [f"{score[row]:.6g}" for score in bank.scores.values()]
            about = (inside, entry.pid, entry.camid, entry.source, entry.target)
            lines.writerow([*about, *scores])
    return poses
