"""Make a bank of images that other software generated, for a comparison in the same table.

Identity and camera come either from file names, or from a CSV with the columns file, pid, camid,
source, target. In the CSV, a source or a target may be empty, and further columns are ignored. Rows
are sorted into seat order. Those of one identity keep the order of the CSV, or that of their file
names; an identity without further images is skipped. Images of another size are resized; those of
quite another shape are refused.

The file names that are understood, and the sheets of PATN, are those of
:mod:`reid_aug.data.foreign_images`. A stray image with another name is left out and counted, and so
are distractors and junk boxes, which no training uses. Images of query or gallery are refused: a
bank is for training.
"""

import hashlib
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from reid_aug.bank import Bank, BankAttributes, BankPlan, Rows, write_bank
from reid_aug.bank.card import has_own_card, write_card
from reid_aug.bank.plan import IMPORTED, OF_NO_IMAGE
from reid_aug.bank.rows import columns_of
from reid_aug.bank.shards import SHARD
from reid_aug.data.dataset import (
    DISTRACTOR,
    JUNK,
    DataConfig,
    Dataset,
    PersonImage,
    by_identity,
    image_size,
    kept,
    seats,
    usual_shape,
)
from reid_aug.data.foreign_images import Foreign, read_names
from reid_aug.data.keypoints import NO_POSE, Pose
from reid_aug.data.listing import ignored_text
from reid_aug.data.provenance import require_status
from reid_aug.runtime.csv_rows import read_rows
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.stages.cost import Cost
from reid_aug.stages.job import Job, Progress

if TYPE_CHECKING:
    from reid_aug.stages.stage import Stage

IMPORT_COLUMNS = ("file", "pid", "camid", "source", "target")


def prepare(
    stage: "Stage",
    images: Path,
    table: Path | None = None,
    name: str = "imported",
    generator_data: str = "whole",
) -> "ImportBankJob":
    """Read and check the list of images of a bank; nothing is written.

    Args:
        images: the folder of the images.
        table: a CSV that lists them; None if their names give pid and camid.
        name: the name of the generator in tables.
        generator_data: the leak status of the generator, one of "kept", "external", "whole".

    Raises:
        UserError: As :func:`read_images`.
    """
    found, text = read_images(images, table, stage.dataset)
    return ImportBankJob(stage, found, text, table or images, name, generator_data)


@dataclass(frozen=True)
class ImportBankJob(Job):
    """Generated images from elsewhere, ready to become a bank."""

    stage: "Stage"
    found: list[Foreign]
    text: str
    """What was found, in words."""
    origin: Path
    """The table or the folder of the images."""
    name: str
    generator_data: str

    @property
    def path(self) -> Path:
        """The bank."""
        return self.stage.run.bank

    def describe(self) -> str:
        """The number of images, and what was left out."""
        return self.text

    def cost(self, device: torch.device) -> Cost:
        """Time, from the first image, and the size of the bank."""
        data, count = self.stage.recipe.data, len(self.found)
        begin = time.perf_counter()
        self.found[0].read(data.height, data.width, usual_shape(self.stage.dataset.train))
        seconds = 2 * (time.perf_counter() - begin) * count  # each is checked, then read
        return Cost(seconds, data.height * data.width * 3 * count)

    def run(self, progress: Progress | None = None) -> Path:
        """Write the bank and its card; the path of the bank."""
        stage, path = self.stage, self.path
        import_bank(
            self.found,
            stage.dataset,
            stage.poses_if_any,
            data=stage.recipe.data,
            path=path,
            name=self.name,
            generator_data=self.generator_data,
        )
        if not has_own_card(path):  # a run that was killed may have left none
            made = {"method": self.name, "imported_from": str(self.origin)}
            write_card(Bank(path), stage.root, made)
        return path


def read_images(folder: Path, table: Path | None, dataset: Dataset) -> tuple[list[Foreign], str]:
    """The images that a table lists, or those of a folder; and what was found, in words.

    Raises:
        UserError: As :func:`read_csv` and :func:`read_names`.
    """
    if table:
        found = read_csv(table, folder)
        return found, f"{len(found)} images"
    names = {image.name for image in dataset.train}
    found, ignored = read_names(folder, names)
    people = [foreign for foreign in found if foreign.pid not in (JUNK, DISTRACTOR)]
    _refuse_test_images(people, dataset, folder)
    if not people:
        raise UserError(f"{folder}: must show identities, got {len(found)} distractors and junk")
    text = f"{len(people)} images"
    if others := len(found) - len(people):
        text += f"; {others} distractors or junk boxes left out"
    if ignored:
        text += f"; {ignored_text(ignored)}"
    if sources := {foreign.source for foreign in people} & names:
        text += f"; made from {len(sources)} of {len(names)} training images"
    return people, text


def _refuse_test_images(found: Sequence[Foreign], dataset: Dataset, folder: Path) -> None:
    """Raise a UserError if images show identities of the test, as those that Pose2ID publishes."""
    own = {image.pid for image in dataset.train}
    test = {image.pid for image in (*dataset.query, *dataset.gallery)} - own
    wrong = [foreign for foreign in found if foreign.pid in test]
    if not wrong:
        return
    shown = {foreign.path.stem for foreign in wrong}
    counts = [
        f"{sum(image.path.stem in shown for image in images)} of {len(images)} {split} images"
        for split, images in (("query", dataset.query), ("gallery", dataset.gallery))
    ]
    missing = [i for i in dataset.gallery if i.pid == DISTRACTOR and i.path.stem not in shown]
    raise UserError(
        f"{folder}: must show training identities, as a bank is for training, got {len(wrong)} of "
        f"{len(found)} images of identities of the test, made from {' and '.join(counts)} "
        f"({len(missing)} distractors have none); take them out; to average the features of test "
        f"images over them: reid-aug reid evaluate MODEL --generated {folder}"
    )


def read_csv(path: Path, folder: Path) -> list[Foreign]:
    """The images that a CSV lists; file names are relative to ``folder``.

    Raises:
        UserError: If the file or a column is missing, or a line is malformed (with its number).
    """
    lines = read_rows(path, f"give a CSV of {', '.join(IMPORT_COLUMNS)}")
    head = [name.strip() for name in lines[0]] if lines else []
    if missing := [name for name in IMPORT_COLUMNS if name not in head]:
        raise UserError(
            f"{path}: line 1 must name {', '.join(IMPORT_COLUMNS)}, got no {missing[0]}"
        )
    places = [head.index(name) for name in IMPORT_COLUMNS]
    found = [
        _parse(line, places, folder, f"{path}: line {number}")
        for number, line in enumerate(lines[1:], start=2)
        if line
    ]
    if not found:
        raise UserError(f"{path}: must list images, got none")
    return found


def _parse(line: list[str], places: list[int], folder: Path, where: str) -> Foreign:
    if len(line) <= max(places):
        raise UserError(f"{where}: must have {', '.join(IMPORT_COLUMNS)}, got {len(line)} columns")
    name, pid, camid, source, target = (line[place].strip() for place in places)
    if not (pid.isdecimal() and camid.isdecimal() and len(pid) < 19 and len(camid) < 10):
        raise UserError(f"{where}: pid and camid must be numbers, got {pid!r} and {camid!r}")
    path = folder / name
    if not name or Path(name).is_absolute() or ".." in Path(name).parts or not path.is_file():
        raise UserError(f"{where}: file must be an image in {folder}, got {name!r}")
    return Foreign(path, int(pid), int(camid), source, target)


def import_bank(
    found: Sequence[Foreign],
    dataset: Dataset,
    poses: Mapping[str, Pose],
    data: DataConfig,
    path: Path,
    name: str,
    generator_data: str,
) -> int:
    """Write ``found`` as a bank of the kept set; returns the number of images.

    A bank that these images made already is left as it is.

    Args:
        found: the images.
        dataset: the data set that they were generated from.
        poses: its keypoints by file name.
        data: the kept set, and the size of the images in the bank.
        path: the file to write.
        name: the name of the generator in tables.
        generator_data: the leak status of the generator, one of "kept", "external", "whole".

    Raises:
        UserError: If an image has an identity, source or target outside the kept set or cannot be
            decoded, another bank exists, or ``name`` is not printable.
    """
    require_status(generator_data, "--trained-on")
    if not name.isprintable():
        raise UserError(f"--name must be printable text, got {name!r}")
    real = kept(dataset.train, data.keep, data.keep_seed)
    _check(found, real)
    known = {image.name for image in real}
    found = [_with_known_ends(foreign, known) for foreign in found]
    ordered = in_seat_order(found, real)
    size = data.height, data.width
    usual = usual_shape(real)
    for foreign in ordered:
        foreign.read(*size, usual)  # raises before anything is written
    attributes = _attributes(ordered, dataset, real, poses, data, name, generator_data)
    rows = _rows(ordered, real, poses, size)
    if not path.exists():
        write_bank(path, rows, _pixels(ordered, size, usual), attributes)
    elif not _is_made_of(Bank(path), attributes, rows):
        raise UserError(
            f"{path}: holds another bank; choose another folder with --out, or remove the file"
        )
    return len(ordered)


def _is_made_of(bank: Bank, attributes: BankAttributes, rows: Rows) -> bool:
    """Whether a bank has these attributes and rows; scores may have been added."""
    columns, wanted = columns_of(bank.rows, {}), columns_of(rows, {})
    return bank.attributes.unwritten(scores=None) == attributes and all(
        np.array_equal(columns[name], wanted[name], equal_nan=name == "keypoints")
        for name in wanted
    )


def _with_known_ends(foreign: Foreign, known: Container[str]) -> Foreign:
    """Without a source or target that is not in the kept set, as a given pose is not."""
    source, target = (end if end in known else "" for end in (foreign.source, foreign.target))
    return replace(foreign, source=source, target=target)


def in_seat_order(found: Sequence[Foreign], real: Sequence[PersonImage]) -> list[Foreign]:
    """The images in seat order; an identity without further images is skipped."""
    counts = {pid: len(group) for pid, group in by_identity(real).items()}
    groups: dict[int, list[Foreign]] = {}
    for foreign in found:
        groups.setdefault(foreign.pid, []).append(foreign)
    waiting = {pid: iter(groups.get(pid, [])) for pid in counts}
    ordered: list[Foreign] = []
    for pid, _ in seats(counts):
        if len(ordered) == len(found):
            break
        ordered += [foreign for foreign in [next(waiting[pid], None)] if foreign]
    return ordered


def _check(found: Sequence[Foreign], real: Sequence[PersonImage]) -> None:
    owners = {image.name: image.pid for image in real}
    pids = set(owners.values())
    for foreign in found:
        where = foreign.path
        if foreign.pid not in pids:
            raise UserError(
                f"{where}: must show an identity of the kept set, got pid {foreign.pid}; "
                f"take the image out, or give the data set it was generated from with --data"
            )
        if not foreign.is_stated:
            continue
        if foreign.source and owners.get(foreign.source) != foreign.pid:
            raise UserError(
                f"{where}: its source must be a kept image of pid {foreign.pid}, "
                f"got {foreign.source!r}"
            )
        has_image = foreign.target and not foreign.target.startswith(OF_NO_IMAGE)
        if has_image and foreign.target not in owners:
            raise UserError(f"{where}: its target must be a kept image, got {foreign.target!r}")


def _rows(
    ordered: Sequence[Foreign],
    real: Sequence[PersonImage],
    poses: Mapping[str, Pose],
    size: tuple[int, int],
) -> Rows:
    paths = {image.name: image.path for image in real}
    xy = []
    for foreign in ordered:
        pose = poses.get(foreign.target, NO_POSE)
        known = foreign.target and pose is not NO_POSE
        xy.append(pose.resized(image_size(paths[foreign.target]), size).xy if known else pose.xy)
    return Rows(
        pid=np.array([foreign.pid for foreign in ordered]),
        camid=np.array([foreign.camid for foreign in ordered]),
        source=np.array([foreign.source for foreign in ordered]),
        target=np.array([foreign.target for foreign in ordered]),
        keypoints=np.stack(xy),
    )


def _pixels(
    ordered: Sequence[Foreign], size: tuple[int, int], usual: float
) -> Iterator[np.ndarray]:
    for start in range(0, len(ordered), SHARD):
        yield np.stack([f.read(*size, usual) for f in ordered[start : start + SHARD]])


def _attributes(
    ordered: Sequence[Foreign],
    dataset: Dataset,
    real: Sequence[PersonImage],
    poses: Mapping[str, Pose],
    data: DataConfig,
    name: str,
    generator_data: str,
) -> BankAttributes:
    files = "\n".join(sha256(foreign.path) for foreign in ordered)
    return BankAttributes.of(
        dataset,
        real,
        poses,
        data,
        generator_sha256=hashlib.sha256(f"imported/1\n{files}".encode()).hexdigest(),
        generator_data=generator_data,
        ratio=len(ordered) / len(real),
        mode="supplement",
        plan=BankPlan(IMPORTED, "source", name, height=data.height, width=data.width),
        seed=0,
    )
