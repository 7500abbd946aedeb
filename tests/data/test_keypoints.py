import math
from pathlib import Path

import numpy as np
import pytest
import torch

from reid_aug.data.keypoints import (
    JOINTS,
    NO_POSE,
    Pose,
    check_keypoints,
    heatmaps,
    read_keypoints,
    write_keypoints,
)
from reid_aug.runtime.errors import UserError

HEADER = "name:keypoints_y:keypoints_x"
SWAPPED = {2: 5, 3: 6, 4: 7, 8: 11, 9: 12, 10: 13, 14: 15, 16: 17}
SWAPPED |= {left: right for right, left in SWAPPED.items()}
YS, XS = list(range(20, 38)), list(range(1, 19))
ROW = f"a.jpg: {YS}: {XS}"


def random_pose(seed: int, height: int = 24, width: int = 12) -> Pose:
    rng = np.random.default_rng(seed)
    xy = rng.uniform((0, 0), (width - 1, height - 1), (18, 2)).astype(np.float32)
    xy[rng.permutation(18)[:4]] = np.nan
    return Pose(xy)


def naive_heatmaps(xy: np.ndarray, height: int, width: int, sigma: float) -> np.ndarray:
    maps = np.zeros((18, height, width))
    for joint, (xc, yc) in enumerate(xy.tolist()):
        for y in range(height):
            for x in range(width):
                if not math.isnan(xc):
                    distance = (y - yc) ** 2 + (x - xc) ** 2
                    maps[joint, y, x] = math.exp(-distance / (2 * sigma**2))
    return maps


def write_csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("sigma", [6.0, 1.5])
def test_heatmaps_follow_the_formula(sigma):
    pose = random_pose(0)

    maps = pose.heatmaps(24, 12, sigma)

    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, naive_heatmaps(pose.xy, 24, 12, sigma), atol=1e-6)


def test_default_sigma_is_six_pixels():
    pose = random_pose(1)

    np.testing.assert_array_equal(pose.heatmaps(24, 12), pose.heatmaps(24, 12, 6.0))


def test_torch_heatmaps_equal_the_numpy_ones():
    poses = [random_pose(seed, 64, 32) for seed in range(3)] + [NO_POSE]

    maps = heatmaps(torch.from_numpy(np.stack([pose.xy for pose in poses])), 64, 32)

    assert maps.dtype == torch.float32
    expected = np.stack([pose.heatmaps(64, 32) for pose in poses])
    np.testing.assert_allclose(maps.numpy(), expected, atol=1e-6)


def test_torch_heatmaps_depend_on_sigma():
    pose = random_pose(2)

    maps = heatmaps(torch.from_numpy(pose.xy[None]), 24, 12, sigma=2.0)

    np.testing.assert_allclose(maps[0].numpy(), pose.heatmaps(24, 12, 2.0), atol=1e-6)


def test_heatmaps_with_sigma_zero_equal_the_heatmaps_truncated_to_integers():
    pose = random_pose(3)
    pose.xy[:] = np.rint(pose.xy)
    pose.xy[0] = -3, 4

    maps = pose.heatmaps(24, 12, sigma=0)

    stored = naive_heatmaps(pose.xy, 24, 12, 6.0).astype(np.uint8)
    np.testing.assert_array_equal(maps, stored)
    assert 0 < maps.sum() == (pose.seen.sum() - 1)
    np.testing.assert_array_equal(heatmaps(torch.from_numpy(pose.xy[None]), 24, 12, 0)[0], maps)


def test_heatmaps_with_sigma_zero_mark_the_nearest_pixel():
    xy = np.full((18, 2), np.nan, np.float32)
    xy[3] = 5.4, 16.6

    maps = Pose(xy).heatmaps(24, 12, sigma=0)

    assert np.argwhere(maps).tolist() == [[3, 17, 5]]
    np.testing.assert_array_equal(heatmaps(torch.from_numpy(xy[None]), 24, 12, 0)[0], maps)


def test_torch_heatmaps_contain_no_subnormal_numbers():
    far = torch.zeros(1, 18, 2)

    maps = heatmaps(far, 256, 128)

    assert maps[maps > 0].min() >= torch.finfo(torch.float32).tiny


def test_heatmap_of_a_missing_joint_is_zero_and_of_a_seen_joint_peaks_at_one():
    xy = np.full((18, 2), np.nan, np.float32)
    xy[3] = 5, 17

    maps = Pose(xy).heatmaps(24, 12)

    assert maps[3, 17, 5] == 1.0
    assert np.unravel_index(maps[3].argmax(), (24, 12)) == (17, 5)
    assert not np.delete(maps, 3, axis=0).any()


def test_heatmap_of_a_joint_outside_the_image_extends_into_it():
    xy = np.full((18, 2), np.nan, np.float32)
    xy[0] = -3, 0

    assert Pose(xy).heatmaps(8, 8)[0, 0, 0] == pytest.approx(math.exp(-9 / 72))


def test_mirroring_twice_gives_the_same_pose():
    pose = random_pose(3)

    twice = pose.mirrored(12).mirrored(12)

    np.testing.assert_allclose(twice.xy, pose.xy, atol=1e-5)


def test_mirrored_swaps_left_and_right():
    pose = random_pose(4, 128, 64)

    mirrored = pose.mirrored(64)

    for joint in range(18):
        x, y = pose.xy[SWAPPED.get(joint, joint)]
        np.testing.assert_allclose(mirrored.xy[joint], (63 - x, y), rtol=1e-6)


def test_names_of_swapped_joints_differ_only_in_the_side():
    for joint, other in SWAPPED.items():
        right, left = sorted((JOINTS[joint], JOINTS[other]), reverse=True)
        assert right == left.replace("left", "right") != left


def test_heatmaps_of_a_mirrored_pose_are_the_flipped_maps_with_swapped_channels():
    pose = random_pose(5)

    flipped = pose.heatmaps(24, 12)[:, :, ::-1]
    swapped = flipped[[SWAPPED.get(joint, joint) for joint in range(18)]]

    np.testing.assert_allclose(pose.mirrored(12).heatmaps(24, 12), swapped, atol=1e-6)


def test_mirroring_does_not_change_the_original_pose():
    pose = random_pose(6)
    before = pose.xy.copy()

    pose.mirrored(12)

    np.testing.assert_array_equal(pose.xy, before)


def test_resizing_keeps_a_joint_at_the_same_part_of_the_image():
    xy = np.full((18, 2), np.nan, np.float32)
    xy[0], xy[1] = (0, 0), (31.5, 63.5)

    resized = Pose(xy).resized((128, 64), (256, 32))

    np.testing.assert_allclose(resized.xy[:2], [(-0.25, 0.5), (15.5, 127.5)])
    assert np.isnan(resized.xy[2:]).all()


@pytest.mark.parametrize("joint", [2, 5, 8, 11])
def test_torso_needs_both_shoulders_and_both_hips(joint):
    whole = Pose(np.zeros((18, 2), np.float32))
    part = Pose(whole.xy.copy())
    part.xy[joint] = np.nan

    assert whole.has_torso
    assert not part.has_torso
    assert not part.seen[joint]
    assert part.seen.sum() == 17


def test_torso_needs_no_other_joint():
    xy = np.full((18, 2), np.nan, np.float32)
    xy[[2, 5, 8, 11]] = 1

    assert Pose(xy).has_torso


def test_y_precedes_x_in_the_file(tmp_path):
    path = write_csv(tmp_path / "k.csv", HEADER, ROW)

    pose = read_keypoints(path)["a.jpg"]

    assert pose.xy.dtype == np.float32
    assert pose.xy[0].tolist() == [1, 20]
    assert pose.xy[17].tolist() == [18, 37]


def test_only_exactly_minus_one_marks_a_missing_joint(tmp_path):
    ys, xs = [-1, 30, *YS[2:]], [-1, -7, *XS[2:]]
    path = write_csv(tmp_path / "k.csv", HEADER, f"a.jpg: {ys}: {xs}")

    pose = read_keypoints(path)["a.jpg"]

    assert np.isnan(pose.xy[0]).all()
    assert pose.xy[1].tolist() == [-7, 30]
    assert pose.seen.tolist() == [False] + [True] * 17


def test_reading_and_writing_gives_the_same_bytes(tmp_path):
    gone = [-1] * 18
    rows = [ROW, f"b.jpg: {gone}: {gone}", f"c.jpg: {[-1, *YS[1:]]}: {[-1, *XS[1:]]}"]
    path = write_csv(tmp_path / "k.csv", HEADER, *rows)

    write_keypoints(tmp_path / "again.csv", read_keypoints(path))

    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


def test_rows_are_written_in_the_order_of_their_names(tmp_path):
    poses = {name: random_pose(seed) for seed, name in enumerate(["b.jpg", "a.jpg", "c.jpg"])}

    write_keypoints(tmp_path / "k.csv", poses)

    read = read_keypoints(tmp_path / "k.csv")
    assert list(read) == ["a.jpg", "b.jpg", "c.jpg"]
    np.testing.assert_array_equal(read["b.jpg"].xy, np.rint(poses["b.jpg"].xy))


def test_file_saved_by_excel_is_read(tmp_path):
    path = write_csv(tmp_path / "k.csv", f"\ufeff{HEADER}", ROW)

    assert list(read_keypoints(path)) == ["a.jpg"]


def test_blank_lines_are_ignored(tmp_path):
    path = write_csv(tmp_path / "k.csv", HEADER, "", ROW, "  ")

    assert list(read_keypoints(path)) == ["a.jpg"]


@pytest.mark.parametrize(
    "row",
    [
        "a.jpg",
        f"a.jpg: {YS}",
        f"a.jpg: {YS}: {XS}: {XS}",
        f": {YS}: {XS}",
        f"a.jpg: {YS}: 1 2 3",
        f"a.jpg: {YS}: {XS[:-1]}",
        f"a.jpg: {[*YS, 1]}: {XS}",
        f"a.jpg: {YS}: 18",
        f"a.jpg: {YS}: [true, {str(XS[1:])[1:]}",
        f"a.jpg: {YS}: [null, {str(XS[1:])[1:]}",
        f"a.jpg: {YS}: {[1_000_000, *XS[1:]]}",
        f"a.jpg: {YS}: {[10**50, *XS[1:]]}",
        f"a.jpg: {YS}: {[10**400, *XS[1:]]}",
        f"a.jpg: {YS}: {'[' * 100_000}",
    ],
    ids=[
        "a name only", "one column", "three columns", "no name", "no list", "seventeen", "nineteen",
        "a number", "true", "null", "outside any picture", "outside float32",
        "outside float64", "nested deeply",
    ],
)  # fmt: skip
def test_malformed_row_is_an_error_that_names_file_and_line(tmp_path, row):
    path = write_csv(tmp_path / "k.csv", HEADER, ROW.replace("a.jpg", "first.jpg"), row)

    with pytest.raises(UserError, match=r"k\.csv: line 3"):
        read_keypoints(path)


def test_second_row_of_a_name_is_an_error_that_names_file_and_line(tmp_path):
    path = write_csv(tmp_path / "k.csv", HEADER, ROW, "", ROW)

    with pytest.raises(UserError, match=r"k\.csv: line 4: a\.jpg"):
        read_keypoints(path)


@pytest.mark.parametrize("lines", [[], ["name,y,x", ROW], [ROW]])
def test_wrong_header_is_an_error_that_shows_the_right_one(tmp_path, lines):
    path = write_csv(tmp_path / "k.csv", *lines)

    with pytest.raises(UserError, match=rf"k\.csv: line 1 must be '{HEADER}'"):
        read_keypoints(path)


def test_missing_file_is_an_error_that_names_the_command(tmp_path):
    with pytest.raises(UserError, match=r"k\.csv is missing.*--keypoints FILE.*estimate-poses"):
        read_keypoints(tmp_path / "k.csv")


def test_a_pose_is_placed_like_another():
    xy = np.full((18, 2), np.nan, np.float32)
    xy[[2, 5, 8, 11]] = [[10, 20], [30, 20], [14, 60], [26, 60]]
    xy[4] = [0, 40]
    other = np.full((18, 2), np.nan, np.float32)
    other[[2, 5, 8, 11]] = [[100, 100], [110, 100], [102, 120], [108, 120]]

    placed = Pose(xy).placed_like(Pose(other)).xy

    assert placed[[2, 4, 8]].tolist() == [[100, 100], [95, 110], [102, 120]]
    assert np.isnan(placed[0]).all()


def test_joints_outside_an_image_are_missing_in_it():
    xy = np.full((18, 2), np.nan, np.float32)
    xy[:4] = [[-0.5, 3], [-0.6, 3], [15.4, 31.4], [15.5, 31]]

    assert Pose(xy).within((32, 16)).seen[:5].tolist() == [True, False, True, False, False]


@pytest.mark.parametrize(
    ("right", "left", "nose", "direction"),
    [
        (10, 40, 25, "front"),
        (10, 20, 25, "front-right"),
        (10, 20, 5, "front-left"),
        (20, 21, 30, "right"),
        (20, 21, 10, "left"),
        (20, 21, np.nan, "left"),
        (20, 10, 25, "back-right"),
        (40, 10, np.nan, "back"),
    ],
)
def test_the_direction_follows_from_shoulders_and_head(right, left, nose, direction):
    xy = np.full((18, 2), np.nan, np.float32)
    xy[[2, 5, 8, 11]] = [[right, 0], [left, 0], [right, 40], [left, 40]]
    xy[0] = [nose, -10] if np.isfinite(nose) else np.nan

    assert Pose(xy).direction == direction


def test_keypoints_of_another_data_set_are_refused_as_such():
    poses = {"9999_c1s1_1_00.jpg": Pose(np.full((18, 2), 5.0)), "8888_c1s1_1_00.jpg": NO_POSE}
    sentence = (
        r"k\.csv: must name images of the data set, as '0001_c1s1_1_00.jpg', got 2 others, as "
        r"'8888_c1s1_1_00.jpg'; give the keypoints of this data set"
    )

    with pytest.raises(UserError, match=sentence):
        check_keypoints(poses, ["0002_c1s1_1_00.jpg", "0001_c1s1_1_00.jpg"], "k.csv")
    check_keypoints(poses, ["8888_c1s1_1_00.jpg"], "k.csv")
    check_keypoints({}, ["0001_c1s1_1_00.jpg"], "k.csv")
