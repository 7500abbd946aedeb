"""Keypoint files of other tools, read as estimates in OpenPose-18 order.

    a folder     OpenPose's --write_json: one NAME_keypoints.json per image, BODY_25 or COCO; or one
                 NAME.json per image in a form below
    *.json       of many images: COCO annotations or results, which ViTPose writes, AlphaPose's
                 results, or {file name: joints} with the joints of MMPose or MediaPipe
    *.csv        the published format (:mod:`reid_aug.data.keypoints`)

The JSON of one image is MMPose's list of people, its object with ``instance_info``, the object with
``skeleton`` of easy_ViTPose (y before x), or MediaPipe's 33 landmarks, as fractions of the image.
If an image has several people, the person with the highest confidence is used. COCO annotations
have visibility flags instead of confidences: a labelled joint, visible or not, has confidence 1.

All functions return {name: (18, 3) float32}: x, y, confidence; those of MediaPipe have a fourth
column (:func:`reid_aug.pose_estimators.joint_layouts.in_pixels`).
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reid_aug.data.keypoints import FARTHEST, read_keypoints
from reid_aug.pose_estimators.joint_layouts import JOINT_LAYOUTS, from_coco, from_mediapipe
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.runtime.json_toml import read_json

OPENPOSE = "_keypoints.json"
OPENPOSE_LAYOUTS = (18, 25)
COCO_LAYOUTS = (17, 26, 133, 136)  # the larger ones begin with the 17 of COCO
LANDMARKS = 33  # of MediaPipe
LARGEST_FRACTION = 4.0  # of the image, as MediaPipe estimates joints outside it
SINGLE = ("instance_info", "skeleton", "pose_landmarks")  # keys of the JSON of one image
JSON_KINDS = {list: "list", dict: "object", str: "text", int: "whole number", float: "number"}
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
        return read_json_estimates(path)
    return {
        name: np.column_stack([np.nan_to_num(pose.xy), pose.seen]).astype(np.float32)
        for name, pose in read_keypoints(path).items()
    }


def files_sha256(path: Path) -> str:
    """SHA-256 of a keypoint file, or of the hashes of all JSON files of a folder."""
    if path.is_file():
        return sha256(path)
    hashes = [sha256(file) for file in sorted(path.glob("*.json"))]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def read_openpose(folder: Path) -> Estimates:
    """Read JSON files, one per image, by the name of the image without suffix."""
    files = sorted(folder.glob(f"*{OPENPOSE}"))
    if files:
        return {file.name.removesuffix(OPENPOSE): _read_image(file) for file in files}
    others = sorted(folder.glob("*.json"))
    if not others:
        raise UserError(
            f"{folder}: the folder must contain OpenPose's files NAME{OPENPOSE} or files "
            f"NAME.json of MMPose or MediaPipe, got none"
        )
    return {file.name.removesuffix(".json"): _one_image(_load(file), f"{file}") for file in others}


def read_json_estimates(path: Path) -> Estimates:
    """Read a JSON file of one image or of many, in any supported form."""
    content = _load(path)
    first = content[0] if isinstance(content, list) and content else None
    if _is_single(content) or (isinstance(first, dict) and "image_id" not in first):
        return {path.stem.removeprefix("results_"): _one_image(content, f"{path}")}
    if not isinstance(content, dict) or "images" in content or "annotations" in content:
        return read_coco(path)
    if not any(isinstance(value, list) or _is_single(value) for value in content.values()):
        return read_coco(path)  # says which key is missing
    return {name: _one_image(value, f"{path}: {name!r}") for name, value in sorted(content.items())}


def _is_single(content: Any) -> bool:
    return isinstance(content, dict) and any(key in content for key in SINGLE)


def _one_image(content: Any, where: str) -> np.ndarray:
    """The joints of an image: of MMPose, easy_ViTPose or MediaPipe."""
    if isinstance(content, dict) and "skeleton" in content:
        return _vitpose(content, where)
    if isinstance(content, dict):
        key = "instance_info" if "instance_info" in content else "pose_landmarks"
        content = _get(content, key, list, where)
    if not isinstance(content, list):
        raise UserError(f"{where}: must be a list of people or landmarks, got {content!r:.40}")
    while len(content) == 1 and isinstance(content[0], list):
        content = content[0]  # MediaPipe has one list per person, MMPose one per image
    if len(content) == LANDMARKS:
        return _mediapipe(content, where)
    return _most_confident([_mmpose(each, f"{where}[{i}]") for i, each in enumerate(content)])


def _mmpose(person: Any, where: str) -> np.ndarray:
    points = _get(person, "keypoints", list, where)
    scores = _get(person, "keypoint_scores", list, where)
    if len(points) != len(scores) or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise UserError(f"{where}.keypoints must be [x, y] for each of {len(scores)} scores")
    flat = [value for point, score in zip(points, scores, strict=True) for value in (*point, score)]
    return _coco(flat, f"{where}.keypoints")


def _vitpose(content: dict[str, Any], where: str) -> np.ndarray:
    found = []
    for people in _get(content, "keypoints", list, where):
        for name, points in (people if isinstance(people, dict) else {}).items():
            if not all(isinstance(point, list) and len(point) == 3 for point in points):
                raise UserError(f"{where}: person {name} must have joints [y, x, score]")
            flat = [value for y, x, score in points for value in (x, y, score)]
            found.append(_coco(flat, f"{where}: person {name}"))
    return _most_confident(found)


def _mediapipe(points: list[Any], where: str) -> np.ndarray:
    rows = []
    for place, point in enumerate(points):
        if isinstance(point, dict):
            x, y = (_get(point, axis, (int, float), f"{where}[{place}]") for axis in "xy")
            values = [x, y, point.get("visibility", 1.0)]
        elif isinstance(point, list) and len(point) in (3, 4):
            values = [point[0], point[1], point[-1] if len(point) == 4 else 1.0]
        else:
            raise UserError(
                f"{where}[{place}] must be a landmark with x, y and visibility, got {point!r:.40}"
            )
        rows.append(values)
    numbers = _numbers([value for row in rows for value in row], (LANDMARKS,), where)
    if np.abs(numbers[:, :2]).max() > LARGEST_FRACTION:
        return from_mediapipe(numbers)
    return np.column_stack([from_mediapipe(numbers), np.ones(18, np.float32)])


def _coco(flat: list[Any], where: str) -> np.ndarray:
    return from_coco(_numbers(flat, COCO_LAYOUTS, where)[:17])


def _read_image(file: Path) -> np.ndarray:
    people = _get(_load(file), "people", list, f"{file}")
    found = []
    for place, person in enumerate(people):
        where = f"{file}: people[{place}]"
        # OpenPose before 1.3 writes "pose_keypoints"
        is_old = isinstance(person, dict) and "pose_keypoints_2d" not in person
        key = "pose_keypoints" if is_old and "pose_keypoints" in person else "pose_keypoints_2d"
        numbers = _numbers(_get(person, key, list, where), OPENPOSE_LAYOUTS, f"{where}.{key}")
        found.append(JOINT_LAYOUTS[len(numbers)](numbers))
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
        numbers = _numbers(raw, COCO_LAYOUTS, f"{where}.keypoints")[:17]
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
        rule = " or ".join(JSON_KINDS[each] for each in kinds)
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
    if any(type(value) is int and abs(value) > FARTHEST for value in values):
        raise UserError(f"{where} must contain numbers of at most {FARTHEST} in magnitude")
    numbers = np.array(values, float).reshape(-1, 3)
    if not np.isfinite(numbers).all():
        raise UserError(f"{where} must contain finite numbers, got {str(values)[:60]}")
    return numbers
