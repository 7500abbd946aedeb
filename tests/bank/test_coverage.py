"""Coverage: poses that look alike share a cluster, wherever in the picture people stand."""

from pathlib import Path

import numpy as np
import pytest

from reid_aug.bank.coverage import CLUSTERS, clusters_sha256, coverage, normalised, pose_clusters
from reid_aug.bank.plan import PlannedRow, plan, usable
from reid_aug.data.dataset import PersonImage, read_market1501
from reid_aug.data.keypoints import Pose, read_keypoints

RNG = np.random.default_rng(0)
KINDS = RNG.uniform(-1, 1, (4, 18, 2))
KINDS[:, [2, 5]] = [[-0.3, -1.0], [0.3, -1.0]]
KINDS[:, [8, 11]] = [[-0.2, 1.0], [0.2, 1.0]]


def standing(kind: int, x: float, y: float, size: float, noise: float = 0.0) -> np.ndarray:
    points = KINDS[kind] + RNG.normal(0, noise, (18, 2)) if noise else KINDS[kind]
    return (points * size + (x, y)).astype(np.float32)


def image(number: int, pid: int = 1, camid: int = 1) -> PersonImage:
    return PersonImage(Path(f"{pid:04d}_c{camid}s1_{number:06d}_00.jpg"), pid, camid)


@pytest.fixture
def crowd() -> tuple[list[PersonImage], dict[str, Pose], list[int]]:
    kinds = [number % 4 for number in range(80)]
    images = [image(number, 1 + number % 5) for number in range(80)]
    spots = RNG.uniform([20, 40, 10], [40, 80, 30], (80, 3))
    poses = {
        i.name: Pose(standing(k, *spot, 0.01))
        for i, k, spot in zip(images, kinds, spots, strict=True)
    }
    return images, poses, kinds


def test_place_and_size_make_no_difference():
    poses = np.stack([standing(0, 30, 60, 10), standing(0, 90, 20, 37)])

    one, other = normalised(poses)

    np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(one.reshape(18, 2)[[2, 5]].mean(0)), 0.5, atol=1e-6)


def test_a_missing_joint_takes_its_mean_position():
    poses = np.stack([standing(k, 30, 60, 10) for k in (0, 1, 2)])
    poses[2, 4] = np.nan

    points = normalised(poses).reshape(3, 18, 2)

    np.testing.assert_allclose(points[2, 4], points[:2, 4].mean(0))
    assert np.isfinite(points).all()


def test_a_joint_missing_in_all_poses_and_a_torso_without_length_give_finite_numbers():
    poses = np.full((2, 18, 2), np.nan, np.float32)
    poses[:, [2, 5, 8, 11]] = 7.0

    assert not normalised(poses).any()


def test_alike_poses_share_a_cluster_and_others_do_not(crowd, monkeypatch):
    monkeypatch.setattr("reid_aug.bank.coverage.CLUSTERS", 4)
    images, poses, kinds = crowd

    clusters = pose_clusters(images, poses, 0)

    pairs = {(kind, clusters[i]) for i, kind in zip(images, kinds, strict=True)}
    assert len(pairs) == len(set(clusters.values())) == 4


def test_clusters_do_not_depend_on_the_order_of_the_images(crowd):
    images, poses, _ = crowd

    assert pose_clusters(images[::-1], poses, 0) == pose_clusters(images, poses, 0)
    assert len(set(pose_clusters(images, poses, 0).values())) == CLUSTERS


def test_few_poses_make_few_clusters():
    images = [image(0), image(1), image(2)]
    poses = {i.name: Pose(standing(k, 30, 60, 10)) for i, k in zip(images, (0, 0, 1), strict=True)}

    clusters = pose_clusters(images, poses, 0)

    assert clusters[images[0]] == clusters[images[1]] != clusters[images[2]]


def test_different_clusterings_have_different_hashes():
    one, two = image(0), image(1)

    assert clusters_sha256({one: 0, two: 1}) == clusters_sha256({two: 1, one: 0})
    assert clusters_sha256({one: 0, two: 1}) != clusters_sha256({one: 1, two: 0})


def test_coverage_counts_clusters_and_cameras_per_identity():
    a, b, c = image(0, 1, 1), image(1, 1, 2), image(2, 2, 3)
    clusters = {a: 0, b: 1, c: 2}
    planned = [PlannedRow(a, c, 1, 0), PlannedRow(a, b, 2, 1), PlannedRow(c, a, 1, 0)]

    found = coverage([a, b, c], planned, clusters)

    assert (found.clusters, found.clusters_before, found.clusters_after) == (3, 1.5, 2.5)
    assert (found.cameras, found.cameras_before, found.cameras_after) == (3, 1.5, 2.0)
    assert str(found) == (
        "coverage: per identity, 1.5 of 3 pose clusters before and 2.5 after, "
        "1.5 of 3 cameras before and 2.0 after"
    )


def test_each_policy_raises_its_own_coverage(people):
    real, poses = read_market1501(people).train, read_keypoints(people / "keypoints.csv")
    clusters = pose_clusters(usable(real, poses), poses, 0)

    def covered(policy: str):
        planned = plan(real, poses, len(real), 0, "target", policy, clusters)
        return coverage(real, planned, clusters)

    chance, cameras, aimed = map(covered, ("random", "cross-camera", "coverage"))
    assert aimed.clusters_after > chance.clusters_after > chance.clusters_before
    assert cameras.cameras_after >= chance.cameras_after > chance.cameras_before
