"""Coverage: in how many poses and under how many cameras the images show each identity.

Two numbers are counted per identity, in the real images and together with the generated ones: its
clusters of poses and its cameras. The clusters come from k-means on keypoints without place and
size: the origin is the middle of shoulders and hips, and the unit is the length of the torso. A
missing joint takes its mean position.
"""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reid_aug.bank.plan import GivenPose, PlannedRow, Target
from reid_aug.data.dataset import PersonImage
from reid_aug.data.keypoints import TORSO, Pose

CLUSTERS = 16
CLUSTERING_STARTS = 4  # runs of k-means, of which the best counts
SHOULDERS, HIPS = list(TORSO[:2]), list(TORSO[2:])


@dataclass(frozen=True, slots=True)
class Coverage:
    """Pose clusters and cameras per identity: means over the identities, and the totals."""

    clusters: int
    """All pose clusters."""
    clusters_before: float
    """Clusters per identity in the real images."""
    clusters_after: float
    """Clusters per identity in the real and generated images."""
    cameras: int
    """All cameras."""
    cameras_before: float
    """Cameras per identity in the real images."""
    cameras_after: float
    """Cameras per identity in the real and generated images."""

    def __str__(self) -> str:
        return (
            f"coverage: per identity, {self.clusters_before:.1f} of {self.clusters} pose "
            f"clusters before and {self.clusters_after:.1f} after, {self.cameras_before:.1f} "
            f"of {self.cameras} cameras before and {self.cameras_after:.1f} after"
        )


def pose_clusters(
    images: Sequence[PersonImage],
    poses: Mapping[str, Pose],
    seed: int,
    clusters: int | None = None,
    given: Sequence[GivenPose] = (),
) -> dict[Target, int]:
    """The cluster of each image's pose, 0..clusters-1 (fewer where there are fewer poses).

    Args:
        images: images with both shoulders and both hips visible, in any order.
        clusters: the number of clusters; ``CLUSTERS`` if None.
        given: poses of no image, which are clustered too.
    """
    from sklearn.cluster import KMeans  # imported here: it loads slowly
    from threadpoolctl import threadpool_limits

    ordered: list[Target] = [*sorted(images), *sorted(given)]
    found = [poses[image.name] for image in sorted(images)] + [one.pose for one in sorted(given)]
    points = normalised(np.stack([pose.xy for pose in found]))
    wanted = min(clusters or CLUSTERS, len(np.unique(points, axis=0)))
    means = KMeans(wanted, n_init=CLUSTERING_STARTS, random_state=seed)
    with threadpool_limits(1), warnings.catch_warnings():  # one thread makes sums reproducible
        warnings.simplefilter("ignore")  # sklearn warns about few distinct poses
        labels = means.fit_predict(points)
    return dict(zip(ordered, labels.tolist(), strict=True))


def typical_poses(
    images: Sequence[PersonImage], poses: Mapping[str, Pose], count: int, seed: int
) -> list[PersonImage]:
    """The images of ``count`` different poses: of each cluster, the one nearest to its mean.

    Args:
        images: as in :func:`pose_clusters`.
    """
    labels = pose_clusters(images, poses, seed, count)
    ordered = sorted(images)
    points = normalised(np.stack([poses[image.name].xy for image in ordered]))
    cluster = np.array([labels[image] for image in ordered])
    chosen = []
    for label in range(cluster.max() + 1):
        members = np.flatnonzero(cluster == label)
        apart = np.linalg.norm(points[members] - points[members].mean(0), axis=1)
        chosen.append(ordered[members[apart.argmin()]])
    return chosen


def normalised(xy: np.ndarray) -> np.ndarray:
    """Keypoints (N, 18, 2) without place and size: (N, 36) float64, none missing.

    Shoulders and hips must be visible. A torso shorter than one pixel counts as one pixel long.
    """
    points = xy.astype(np.float64)
    shoulders, hips = points[:, SHOULDERS].mean(1), points[:, HIPS].mean(1)
    length = np.maximum(np.linalg.norm(shoulders - hips, axis=1), 1.0)
    points = (points - (shoulders + hips)[:, None] / 2) / length[:, None, None]
    known = ~np.isnan(points)
    sums = np.where(known, points, 0.0).sum(0)
    means = sums / np.maximum(known.sum(0), 1)
    result: np.ndarray = np.where(known, points, means).reshape(len(points), -1)
    return result


def clusters_sha256(clusters: Mapping[Any, int]) -> str:
    """A hash of a clustering of images; equal hashes mean equal plans by coverage."""
    lines = [f"{image.name} {clusters[image]}" for image in sorted(clusters)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def coverage(
    real: Sequence[PersonImage], rows: Sequence[PlannedRow], clusters: Mapping[Target, int]
) -> Coverage:
    """Pose clusters and cameras per identity, in the real images and with the planned rows.

    Args:
        real: the kept set.
        clusters: the result of :func:`pose_clusters`.
    """
    poses = [(i.pid, clusters[i]) for i in real if i in clusters]
    planned_poses = [(r.source.pid, clusters[r.target]) for r in rows if r.target in clusters]
    cameras = [(i.pid, i.camid) for i in real]
    planned_cameras = [(r.source.pid, r.camid) for r in rows]
    identities = len({i.pid for i in real})
    return Coverage(
        len(set(clusters.values())),
        len({*poses}) / identities,
        len({*poses, *planned_poses}) / identities,
        len({camid for _, camid in [*cameras, *planned_cameras]}),
        len({*cameras}) / identities,
        len({*cameras, *planned_cameras}) / identities,
    )
