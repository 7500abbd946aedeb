"""Key points of a data set: from an estimator, or from what another tool wrote.

The file that comes out is ``keypoints.csv`` (:mod:`reid_aug.data.keypoints`); beside it
``keypoints.json`` says what made it. An estimation is shared out over processes. What is done is
kept in a journal beside the file, so a run that was stopped goes on; images that were added later
are added.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from reid_aug.data.dataset import FOLDERS, dataset_root, image_files, image_size, open_image
from reid_aug.data.keypoints import Pose, read_keypoints, write_keypoints
from reid_aug.pose_estimators import ESTIMATORS, Estimator, open_estimator
from reid_aug.pose_estimators.files import read_pose_files
from reid_aug.pose_estimators.joint_layouts import pose_of, without_face
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import locked, sha256, sync, write_json
from reid_aug.runtime.workers import CORES, spread

FORMAT = "reid_aug.keypoints/1"
CHUNK = 16  # images a process works on before it reports; a killed run loses at most these
Progress = Callable[[Iterable, int, int], Iterable]


@dataclass(frozen=True, slots=True)
class EstimatePosesConfig:
    """Who looks at the crops, and how sure a joint must be (a confidence in [0, 1])."""

    estimator: str = "movenet"
    weights: str = ""
    threshold: float = 0.2

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            known = ", ".join(ESTIMATORS)
            raise UserError(f"estimator must be one of {known}, got {self.estimator!r}")
        check_threshold(self.threshold)


def check_threshold(threshold: float) -> None:
    """Raise a UserError unless it is a confidence."""
    if not 0 <= threshold <= 1:
        raise UserError(f"threshold must be in 0..1, got {threshold}")


def estimate_poses(
    data: Path | str,
    config: EstimatePosesConfig,
    path: Path,
    workers: int = CORES,
    progress: Progress | None = None,
) -> dict[str, Pose]:
    """Estimate the key points of every image of a data set, or those that are missing.

    Args:
        data: folder of the data set.
        config: who looks.
        path: the file to write.
        workers: processes.
        progress: wraps an iterable, given how many items there are and how many were done before.

    Raises:
        UserError: If an image does not decode, the weights cannot be read, or ``path`` holds key
            points that these settings did not make.
    """
    files = {file.name: file for file in data_files(data)}
    settings = {"format": FORMAT, **asdict(config)}
    del settings["weights"]  # a path of this machine; what is in the file counts
    settings["weights_sha256"] = _opened(config.estimator, config.weights).sha256
    with locked(path.parent):
        journal = Journal(path, settings)
        done = {name: pose for name, pose in journal.done().items() if name in files}
        todo = [file for name, file in files.items() if name not in done]
        if todo:
            chunks = [todo[start : start + CHUNK] for start in range(0, len(todo), CHUNK)]
            found = spread(partial(_estimate, config), chunks, workers)
            each = (item for some in journal.kept(found) for item in some)
            done |= dict(progress(each, len(files), len(done)) if progress else each)
        journal.close(done)
    return done


def import_poses(
    data: Path | str, source: Path | str, threshold: float, path: Path
) -> tuple[dict[str, Pose], int]:
    """Write the key points that another tool found: (poses, how many belong to no image here).

    Raises:
        UserError: If they cannot be read, belong to no image of the data set, or ``path`` holds
            other key points.
    """
    check_threshold(threshold)
    found = read_pose_files(source)
    by_name = {file.name: file for file in data_files(data)}
    by_stem = {file.stem: file for file in data_files(data)}
    poses = {}
    for name, scored in found.items():
        if file := by_name.get(name) or by_stem.get(name):
            poses[file.name] = pose_of(scored, threshold, image_size(file))
    if not poses:
        raise UserError(
            f"{source}: must hold key points of images in {data}, got none; the first is of "
            f"{next(iter(found), 'nothing')!r}"
        )
    settings = {"format": FORMAT, "source_sha256": _digest(Path(source)), "threshold": threshold}
    with locked(path.parent):
        journal = Journal(path, settings)
        journal.done()  # refuses to overwrite others
        journal.close(poses)
    return poses, len(found) - len(poses)


def data_files(data: Path | str) -> list[Path]:
    """Every image of the three folders of a data set, whoever it shows."""
    root = dataset_root(data)
    return [path for folder in FOLDERS for path in image_files(root / folder)]


@cache
def _opened(name: str, weights: str) -> Estimator:
    """The estimator, opened once a process."""
    return open_estimator(name, weights)


def _estimate(config: EstimatePosesConfig, files: Sequence[Path]) -> list[tuple[str, Pose]]:
    estimator = _opened(config.estimator, config.weights)
    found = []
    for file in files:
        image = open_image(file)
        height, width = image.shape[:2]
        pose = pose_of(estimator.estimate(image), config.threshold, (height, width))
        found.append((file.name, without_face(pose)))
    return found


def _digest(source: Path) -> str:
    """SHA-256 of a file, or of all that a folder's files hold."""
    if source.is_file():
        return sha256(source)
    return ",".join(sha256(file) for file in sorted(source.glob("*.json")))


class Journal:
    """What is known of a key-point file while it is made: its rows, and what makes them.

    Args:
        path: the key-point file.
        settings: what makes the rows; JSON values.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path, self.settings = path, dict(settings)
        self.card = path.with_suffix(".json")
        self.file = path.with_suffix(".journal")

    def done(self) -> dict[str, Pose]:
        """The rows that are there.

        Raises:
            UserError: If the file or the journal is of other settings.
        """
        poses: dict[str, Pose] = {}
        if self.path.is_file():
            if self._noted() != {**self.settings, "keypoints_sha256": sha256(self.path)}:
                raise UserError(
                    f"{self.path}: holds key points that these settings did not make; remove it, "
                    f"or write to another file with --keypoints FILE"
                )
            poses |= read_keypoints(self.path)
        return poses | dict(self._journalled())

    def kept(self, found: Iterable[list[tuple[str, Pose]]]) -> Iterator[list[tuple[str, Pose]]]:
        """Pass rows on, each list of them once it is on the disk."""
        with self.file.open("a", encoding="utf-8") as file:
            if not file.tell():
                file.write(json.dumps(self.settings) + "\n")
                sync(file)
            for some in found:
                for name, pose in some:
                    file.write(json.dumps([name, pose.xy.tolist()]) + "\n")
                sync(file)
                yield some

    def close(self, poses: Mapping[str, Pose]) -> None:
        """Write the key-point file and its card, and drop the journal."""
        write_keypoints(self.path, poses)
        write_json(self.card, {**self.settings, "keypoints_sha256": sha256(self.path)})
        self.file.unlink(missing_ok=True)

    def _noted(self) -> Any:
        try:
            return json.loads(self.card.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _journalled(self) -> Iterator[tuple[str, Pose]]:
        if not self.file.is_file():
            return
        whole = self.file.read_bytes()
        whole = whole[: whole.rfind(b"\n") + 1]  # a killed run may leave half a line
        with self.file.open("r+b") as file:
            file.truncate(len(whole))
        if not whole:  # it was killed before it wrote what makes the rows
            return
        head, *lines = whole.decode(errors="replace").splitlines()
        try:
            if json.loads(head) != self.settings:
                raise UserError(
                    f"{self.file}: was begun with other settings; use those again, or remove it"
                )
            for line in lines:
                name, xy = json.loads(line)
                yield name, Pose(np.array(xy, np.float32).reshape(18, 2))
        except (ValueError, TypeError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{self.file}: must be a journal of ours; remove the file") from None
