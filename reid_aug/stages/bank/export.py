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
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from reid_aug.bank import Bank
from reid_aug.data.dataset import FOLDERS, KEYPOINTS, Dataset
from reid_aug.data.formats.writing import market_name, require_cameras
from reid_aug.data.keypoints import Pose, write_keypoints
from reid_aug.data.provenance import content_sha256, keypoints_sha256
from reid_aug.mixing import Mix, require_same_dataset
from reid_aug.runtime.errors import UserError, nearest
from reid_aug.runtime.files import new_folder, write_json
from reid_aug.runtime.records import read_table

PROVENANCE, EXPORT = "provenance.csv", "export.json"
EXPORT_FORMAT = "reid_aug.export/1"
EXPORT_COLUMNS = ("file", "pid", "camid", "source", "target")
MARKET, CLASSES = "market1501", "folders"
LAYOUTS = {MARKET: FOLDERS, CLASSES: ("train", "query", "gallery")}  # the folders of the lists
EXPORT_JPEG_QUALITY = 95  # of the JPEG files; colours are not subsampled


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
    if mix.bank is None or not mix.generated:
        raise UserError("there is nothing to export: the mix has no generated image")
    require_same_dataset(mix.bank, dataset)
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
        known = _write_rows(mix.bank, mix.generated_rows, part, progress, layout)
        for name, some in zip(places, lists, strict=True):
            for image in some:
                file = part / name / file_in(layout, image.pid, market_name(image))
                file.parent.mkdir(exist_ok=True)
                shutil.copyfile(image.path, file)
        known |= {market_name(i): poses[i.name] for i in images if i.name in poses}
        write_keypoints(part / KEYPOINTS, known)
        write_json(part / EXPORT, about)
    return mix.generated + len(real)


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
            image = Image.fromarray(entry.image)
            inside = file_in(layout, entry.pid, name)
            file_ = part / LAYOUTS[layout][0] / inside
            file_.parent.mkdir(exist_ok=True)
            image.save(file_, quality=EXPORT_JPEG_QUALITY, subsampling=0)
            poses[name] = Pose(entry.keypoints)
            scores = [f"{score[row]:.6g}" for score in bank.scores.values()]
            about = (inside, entry.pid, entry.camid, entry.source, entry.target)
            lines.writerow([*about, *scores])
    return poses
