"""Compare the keypoints of an estimator with the published ones of the same crops.

    python benchmarks/poses.py DATA WEIGHTS... [--estimator rtmpose] [--picture FILE]

DATA is a folder in Market-1501 layout with ``keypoints.csv``. Prints a table in markdown, one row
per file of weights. Distances are over all joints of the published file, in pixels of a crop,
whatever the confidence of the estimator. "Kept" is the part of these joints with a confidence of at
least the threshold; "left out" is the part of the joints that the published file lacks whose
confidence is below it. The published keypoints are those of an estimator too (OpenPose), not the
truth.

``--picture`` draws crops with both poses, for the first weights. Do not share pictures of real
people.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from reid_aug.data.dataset import image_size, open_image
from reid_aug.data.formats import default_keypoints, read_listing
from reid_aug.data.keypoints import Pose, read_keypoints
from reid_aug.data.pictures import draw_pose, sheet, write_picture
from reid_aug.pose_estimators import open_estimator
from reid_aug.pose_estimators.joint_layouts import pose_of, without_face
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.progress import track
from reid_aug.stages.estimate_poses import images_of

NEAR = (5, 8, 12.8)  # pixels
FAR = 8  # a larger median distance counts as a failed image
SHOWN = 32


def distances(found: np.ndarray, published: np.ndarray) -> np.ndarray:
    """Distances (N, 18) in pixels, NaN where no joint is published."""
    return np.hypot(*np.moveaxis(found[..., :2] - published, -1, 0))


def row(found: np.ndarray, published: np.ndarray, threshold: float) -> list[str]:
    """The cells of one estimator: estimates (N, 18, 3), keypoints (N, 18, 2)."""
    distance = distances(found, published)
    is_published, is_sure = ~np.isnan(distance), found[..., 2] >= threshold
    each = distance[is_published]
    per_image = np.array([np.median(some[~np.isnan(some)]) for some in distance])
    faced = np.array([without_face(pose_of(f, threshold)).seen for f in found])
    return [
        f"{np.median(each):.2f}",
        *(f"{100 * (each < near).mean():.1f}" for near in NEAR),
        f"{(per_image > FAR).sum()} of {len(per_image)}",
        f"{100 * is_sure[is_published].mean():.1f}",
        f"{100 * (~is_sure)[~is_published].mean():.1f}",
        f"{100 * faced[is_published].mean():.1f}",
        f"{100 * (~faced)[~is_published].mean():.1f}",
    ]


def estimate(name: str, weights: str, files: Sequence[Path]) -> tuple[np.ndarray, float]:
    """Estimates (N, 18, 3) of crops, and the median of milliseconds per crop."""
    estimator, found, seconds = open_estimator(name, weights), [], []
    for file in track(files, Path(weights).name):
        image = open_image(file)
        start = time.perf_counter()
        found.append(estimator.estimate(image))
        seconds.append(time.perf_counter() - start)
    return np.array(found), 1000 * float(np.median(seconds))


def write_comparison(
    files: Sequence[Path], published: np.ndarray, found: np.ndarray, path: Path
) -> None:
    """Write crops with published and estimated poses: the worst, then some spread evenly."""
    worst = np.argsort(-np.nanmedian(distances(found, published), 1))[: SHOWN // 4].tolist()
    spread = np.linspace(0, len(files) - 1, SHOWN - len(worst)).astype(int).tolist()
    rows = []
    for place in [*worst, *spread]:
        crop, size = open_image(files[place]), image_size(files[place])
        poses = Pose(published[place]), without_face(pose_of(found[place], 0.2, size))
        rows.append([crop, *(draw_pose(pose, *size, over=crop) for pose in poses)])
    write_picture(path, sheet(rows, ("image", "published", "found"), across=6, zoom=2))


def main(words: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", nargs="+")
    parser.add_argument("--estimator", default="movenet")
    parser.add_argument("--threshold", type=float, default=0.2)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args(words)
    torch.set_num_threads(1)
    try:
        poses = read_keypoints(default_keypoints(arguments.data))
        files = [i.path for i in images_of(read_listing(arguments.data)) if i.name in poses]
        files = [file for file in files if poses[file.name].seen.any()]
        published = np.array([poses[file.name].xy for file in files])
        found = [estimate(arguments.estimator, weights, files) for weights in arguments.weights]
    except UserError as error:
        sys.exit(f"error: {error}")
    joints = int((~np.isnan(published[..., 0])).sum())
    print(f"{len(files)} crops, {joints} published joints, threshold {arguments.threshold}\n")
    near = [f"< {pixels} px, %" for pixels in NEAR]
    behind = ["kept, back rule, %", "left out, back rule, %"]
    heads = ["weights", "median px", *near, f"images > {FAR} px", "kept, %", "left out, %", *behind]
    print(f"| {' | '.join([*heads, 'ms'])} |\n" + "| --- " * (len(heads) + 1) + "|")
    for weights, (each, ms) in zip(arguments.weights, found, strict=True):
        cells = [Path(weights).stem, *row(each, published, arguments.threshold), f"{ms:.0f}"]
        print(f"| {' | '.join(cells)} |")
    if arguments.picture:
        write_comparison(files, published, found[0][0], arguments.picture)


if __name__ == "__main__":
    main()
