"""Keypoint files of other tools, read as estimates in OpenPose-18 order.

    a folder     OpenPose's --write_json: one NAME_keypoints.json per image, BODY_25 or COCO
    *.json       COCO keypoints: an annotation file or a list of results
    *.csv        the published format (:mod:`reid_aug.data.keypoints`)

If an image has several people, the person with the highest confidence is used. COCO annotations
have visibility flags instead of confidences: a labelled joint, visible or not, has confidence 1.

All functions return {name: (18, 3) float32}: x, y, confidence.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reid_aug.data.keypoints import read_keypoints
from reid_aug.pose_estimators.joint_layouts import LAYOUTS, from_coco
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.json_toml import read_json

OPENPOSE = "_keypoints.json"
OPENPOSE_LAYOUTS = (18, 25)
KINDS = {list: "list", dict: "object", str: "text", int: "whole number"}
Estimates = dict[str, np.ndarray]


def read_pose_files(path: Path | str) -> Estimates:
    """Read keypoints of any supported format, by file name; OpenPose's by name without suffix.

    Raises:
        UserError: If the path is missing or in no supported format; gives the file and the key.
    """
    path = Path(path)
    if path.is_dir():
        return read_openpose(path)
    if path.suffix.lower() == ".json":
        return read_coco(path)
    return {
        name: np.column_stack([np.nan_to_num(pose.xy), pose.seen]).astype(np.float32)
        for name, pose in read_keypoints(path).items()
    }


def read_openpose(folder: Path) -> Estimates:
    """Read OpenPose's JSON files, one per image, by the name of the image without suffix."""
    files = sorted(folder.glob(f"*{OPENPOSE}"))
    if not files:
        raise UserError(
            f"{folder}: the folder must contain OpenPose's files NAME{OPENPOSE}, got none"
        )
    return {file.name.removesuffix(OPENPOSE): _read_image(file) for file in files}


def _read_image(file: Path) -> np.ndarray:
    people = _get(_load(file), "people", list, f"{file}")
    found = []
    for place, person in enumerate(people):
        where = f"{file}: people[{place}]"
        # OpenPose before 1.3 writes "pose_keypoints"
        is_old = isinstance(person, dict) and "pose_keypoints_2d" not in person
        key = "pose_keypoints" if is_old and "pose_keypoints" in person else "pose_keypoints_2d"
        numbers = _numbers(_get(person, key, list, where), OPENPOSE_LAYOUTS, f"{where}.{key}")
        found.append(LAYOUTS[len(numbers)](numbers))
        if found[-1][:, 2].any() and found[-1][:, :2].max() <= 1:
            raise UserError(
                f"{where}.{key} must be in pixels, got fractions of the image size; run OpenPose "
                f"again with --keypoint_scale 0"
            )
    return _most_confident(found)


def read_coco(path: Path) -> Estimates:
    """Read a COCO keypoint file: annotations with image names, or a list of results."""
    content = _load(path)
    if isinstance(content, list):
        return _grouped(path, "", content, {}, is_marked=False)
    images = _get(content, "images", list, f"{path}")
    names = {}
    for place, image in enumerate(images):
        where = f"{path}: images[{place}]"
        image_id = _get(image, "id", (int, str), where)
        names[image_id] = _get(image, "file_name", str, where)
    annotations = _get(content, "annotations", list, f"{path}")
    found = _grouped(path, "annotations", annotations, names, is_marked=True)
    nothing = np.zeros((18, 3), np.float32)
    return {Path(name).name: found.get(Path(name).name, nothing) for name in names.values()}


def _grouped(
    path: Path, key: str, entries: Iterable[Any], names: Mapping[Any, str], is_marked: bool
) -> Estimates:
    """Estimates by image name; of several entries of an image, the one with the best score."""
    groups: dict[str, list[tuple[float, np.ndarray]]] = {}
    for place, entry in enumerate(entries):
        where = f"{path}: {key}[{place}]"
        image = _get(entry, "image_id", (int, str), where)
        name = names.get(image, image)
        if not isinstance(name, str):
            raise UserError(
                f"{where}.image_id must be the id of an image of this file or a file name, got "
                f"{image!r}"
            )
        raw = _get(entry, "keypoints", list, where)
        numbers = _numbers(raw, (17,), f"{where}.keypoints")
        if is_marked:
            numbers[:, 2] = numbers[:, 2] > 0
        score = entry.get("score")
        if type(score) not in (int, float):
            score = numbers[:, 2].sum()
        groups.setdefault(Path(name).name, []).append((score, from_coco(numbers)))
    return {name: max(group, key=lambda pair: pair[0])[1] for name, group in groups.items()}


def _most_confident(people: list[np.ndarray]) -> np.ndarray:
    if not people:
        return np.zeros((18, 3), np.float32)
    return max(people, key=lambda scored: scored[:, 2].sum())


def _load(path: Path) -> Any:
    return read_json(path, remedy="give a folder of OpenPose files, or a .json or .csv file")


def _get(entry: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    if not isinstance(entry, dict):
        raise UserError(f"{where} must be an object with {key!r}, got {str(entry)[:40]!r}")
    if not isinstance(entry.get(key), kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        rule = " or ".join(KINDS[each] for each in kinds)
        found = f"{entry[key]!r}"[:40] if key in entry else "no such key"
        raise UserError(f"{where}: {key} must be a {rule}, got {found}")
    return entry[key]


def _numbers(values: list[Any], layouts: tuple[int, ...], where: str) -> np.ndarray:
    """Convert a flat list x, y, confidence, ... to (joints, 3) float64."""
    counts = [3 * joints for joints in layouts]
    if len(values) not in counts:
        wanted = " or ".join(map(str, counts))
        raise UserError(f"{where} must contain {wanted} numbers, got {len(values)}")
    if not all(type(value) in (int, float) for value in values):
        raise UserError(f"{where} must contain numbers only, got {str(values)[:60]}")
    numbers = np.array(values, float).reshape(-1, 3)
    if not np.isfinite(numbers).all():
        raise UserError(f"{where} must contain finite numbers, got {str(values)[:60]}")
    return numbers
