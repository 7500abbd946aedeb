"""Coverage: how much of what people can look like each identity is seen in.

Two things are counted for every identity, before drawing and after: the clusters of poses it is
seen in, and the cameras it is seen under. Poses are clustered by k-means on key points that are
freed of where in the picture somebody stands and how large: the middle of shoulders and hips is the
origin, the length of the torso the unit. A joint that is not seen lies where it does on average.
"""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reid_aug.bank.plan import Draw
from reid_aug.data.dataset import PersonImage
from reid_aug.data.keypoints import TORSO, Pose

CLUSTERS = 16
STARTS = 4  # k-means is begun this often, and the best is taken
SHOULDERS, HIPS = list(TORSO[:2]), list(TORSO[2:])


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of how many there are, how many an identity is seen in, on average, before and after."""

    clusters: int
    clusters_before: float
    clusters_after: float
    cameras: int
    cameras_before: float
    cameras_after: float

    def __str__(self) -> str:
        return (
            f"coverage: an identity is seen in {self.clusters_before:.1f} of {self.clusters} pose "
            f"clusters before and {self.clusters_after:.1f} after, under {self.cameras_before:.1f} "
            f"of {self.cameras} cameras before and {self.cameras_after:.1f} after"
        )


def pose_clusters(
    images: Sequence[PersonImage],
    poses: Mapping[str, Pose],
    seed: int,
    clusters: int | None = None,
) -> dict[PersonImage, int]:
    """The cluster of each image's pose, 0..clusters-1 (fewer where there are fewer poses).

    Args:
        images: images with both shoulders and both hips seen; their order does not matter.
        clusters: how many; ``CLUSTERS`` if None.
    """
    from sklearn.cluster import KMeans  # here, because it takes longer to load than a plan
    from threadpoolctl import threadpool_limits

    ordered = sorted(images)
    points = normalised(np.stack([poses[image.name].xy for image in ordered]))
    wanted = min(clusters or CLUSTERS, len(np.unique(points, axis=0)))
    means = KMeans(wanted, n_init=STARTS, random_state=seed)
    with threadpool_limits(1), warnings.catch_warnings():  # sums of one thread are reproducible
        warnings.simplefilter("ignore")  # that equal poses are few
        labels = means.fit_predict(points)
    return dict(zip(ordered, labels.tolist(), strict=True))


def typical_poses(
    images: Sequence[PersonImage], poses: Mapping[str, Pose], count: int, seed: int
) -> list[PersonImage]:
    """The images of ``count`` poses that differ: of each cluster the one nearest its mean.

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
    """Key points (N, 18, 2) without place and size: (N, 36) float64, nothing missing.

    Shoulders and hips must be seen. A torso of no length counts as one of one pixel.
    """
    points = xy.astype(np.float64)
    shoulders, hips = points[:, SHOULDERS].mean(1), points[:, HIPS].mean(1)
    length = np.maximum(np.linalg.norm(shoulders - hips, axis=1), 1.0)
    points = (points - (shoulders + hips)[:, None] / 2) / length[:, None, None]
    seen = ~np.isnan(points)
    sums = np.where(seen, points, 0.0).sum(0)
    means = sums / np.maximum(seen.sum(0), 1)
    return np.where(seen, points, means).reshape(len(points), -1)


def clusters_sha256(clusters: Mapping[PersonImage, int]) -> str:
    """One hash of a clustering: two plans by coverage are the same if it is."""
    lines = [f"{image.name} {clusters[image]}" for image in sorted(clusters)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def coverage(
    real: Sequence[PersonImage], draws: Sequence[Draw], clusters: Mapping[PersonImage, int]
) -> Coverage:
    """How much each identity is seen in before and after ``draws``.

    Args:
        real: the kept set.
        clusters: as :func:`pose_clusters` gives them.
    """
    poses = [(i.pid, clusters[i]) for i in real if i in clusters]
    drawn = [(d.source.pid, clusters[d.target]) for d in draws if d.target in clusters]
    seen = [(i.pid, i.camid) for i in real]
    looks = [(d.source.pid, d.camid) for d in draws]
    identities = len({i.pid for i in real})
    return Coverage(
        len(set(clusters.values())),
        len({*poses}) / identities,
        len({*poses, *drawn}) / identities,
        len({camid for _, camid in [*seen, *looks]}),
        len({*seen}) / identities,
        len({*seen, *looks}) / identities,
    )
