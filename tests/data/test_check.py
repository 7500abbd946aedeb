import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid_aug.data.check import check_dataset
from reid_aug.runtime.errors import UserError

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
MISSING = f"{[-1] * 18}"


@pytest.fixture
def data(people: Path, tmp_path: Path) -> Path:
    return shutil.copytree(people, tmp_path / "data")


def faults(data: Path, keypoints: Path | None = None) -> list[str]:
    return [str(fault) for fault in check_dataset(data, keypoints).faults]


def files(data: Path, folder: str, pid: int | None = None) -> list[Path]:
    found = sorted((data / folder).glob("*.jpg"))
    return [path for path in found if pid is None or int(path.name.split("_")[0]) == pid]


def pids(data: Path, folder: str) -> list[int]:
    return sorted({int(path.name.split("_")[0]) for path in files(data, folder)})


def keep_rows(data: Path, names: set[str]) -> None:
    path = data / "keypoints.csv"
    head, *rows = path.read_text().splitlines()
    kept = [row for row in rows if row.split(":")[0] in names]
    path.write_text("\n".join([head, *kept]) + "\n")


def add_row(data: Path, row: str) -> None:
    path = data / "keypoints.csv"
    path.write_text(path.read_text() + row + "\n")


def remove(paths: list[Path]) -> int:
    for path in paths:
        path.unlink()
    return len(paths)


def names(data: Path) -> set[str]:
    return {path.name for folder in (TRAIN, QUERY, GALLERY) for path in files(data, folder)}


def test_valid_folder_has_no_error(people):
    assert [text for text in faults(people) if text.startswith("error")] == []


def test_folders_are_counted(people):
    lines = check_dataset(people, None).lines

    for name, folder in (("train", TRAIN), ("query", QUERY), ("gallery", GALLERY)):
        counted = [path for path in files(people, folder) if not path.name.startswith("-1")]
        identities = {path.name.split("_")[0] for path in counted}
        cameras = {path.name.split("_c")[1][0] for path in counted}
        assert (
            f"{name}: {len(counted)} images, {len(identities)} identities, {len(cameras)} cameras"
        ) in lines


def test_usable_poses_are_counted(data):
    usable, bare = files(data, TRAIN)[:2]
    keep_rows(data, set())
    add_row(data, f"{usable.name}: {[20] * 18}: {[10] * 18}")
    add_row(data, f"{bare.name}: {[20] * 8 + [-1] + [20] * 9}: {[10] * 8 + [-1] + [10] * 9}")

    lines = check_dataset(data, None).lines

    assert f"poses: 1 of {len(files(data, TRAIN))} training images are usable" in lines


@pytest.mark.parametrize("folder", [TRAIN, QUERY, GALLERY])
def test_file_that_is_not_an_image_is_an_error(data, folder):
    path = files(data, folder)[-1]
    path.write_bytes(b"no image")

    assert [f for f in faults(data) if f.startswith(f"error: {path}: must be an image")]


def test_truncated_image_is_an_error(data):
    path = files(data, TRAIN)[0]
    path.write_bytes(path.read_bytes()[:-400])

    assert [f for f in faults(data) if f.startswith(f"error: {path}: must be an image")]


def test_bad_name_is_an_error(data):
    path = files(data, TRAIN)[0]
    bad = path.rename(path.with_name("portrait.jpg"))

    assert [f for f in faults(data) if f.startswith(f"error: {bad}: the name must begin with")]


def test_every_unreadable_image_has_a_line(data):
    for path in files(data, TRAIN)[:3]:
        path.write_bytes(b"")

    assert len([f for f in faults(data) if "must be an image that decodes" in f]) == 3


@pytest.mark.parametrize(
    "row",
    [
        "0001_c1s1_000001_01.jpg",
        f"a.jpg: {[1] * 17}: {[1] * 18}",
        f"a.jpg: {[True] * 18}: {[1] * 18}",
        f"a.jpg: {[1] * 18}: what",
        f": {MISSING}: {MISSING}",
    ],
)
def test_malformed_row_is_an_error_that_names_the_line(data, row):
    add_row(data, row)
    path = data / "keypoints.csv"

    number = len(path.read_text().splitlines())
    assert [f for f in faults(data) if f.startswith(f"error: {path}: line {number}: a row must be")]


def test_row_given_twice_is_an_error(data):
    name = files(data, TRAIN)[0].name
    add_row(data, f"{name}: {MISSING}: {MISSING}")

    assert [f for f in faults(data) if f.startswith("error") and f"{name} has a row already" in f]


def test_missing_keypoints_are_an_error(data):
    (data / "keypoints.csv").unlink()

    assert [f for f in faults(data) if f.startswith(f"error: {data / 'keypoints.csv'} is missing")]


def test_keypoints_in_another_folder_are_read(data, tmp_path):
    path = (data / "keypoints.csv").rename(tmp_path / "poses.csv")

    assert [f for f in faults(data, path) if f.startswith("error")] == []


def test_queries_without_any_match_are_an_error(data):
    remove([path for path in files(data, GALLERY) if not path.name.startswith(("0000", "-1"))])

    found = faults(data)

    assert "error: no query has a match in the gallery under another camera" in found


def test_match_under_the_same_camera_does_not_count(data):
    only, *others = files(data, QUERY)
    remove(others + files(data, GALLERY))
    shutil.copy(only, data / GALLERY / only.name.replace(".jpg", "_77.jpg"))

    found = [f for f in faults(data) if f.startswith("error")]
    assert found == ["error: no query has a match in the gallery under another camera"]


def test_some_queries_without_a_match_are_a_warning(data):
    pid = pids(data, QUERY)[0]
    remove(files(data, GALLERY, pid))
    unmatched, queries = len(files(data, QUERY, pid)), len(files(data, QUERY))

    assert [f for f in faults(data) if f.startswith(f"warning: {unmatched} of {queries} queries")]


def test_identities_under_one_camera_are_a_warning(data):
    pid = pids(data, TRAIN)[0]
    first, *rest = files(data, TRAIN, pid)
    camera = first.name.split("s")[0]
    remove([path for path in rest if not path.name.startswith(camera)])
    identities = len(pids(data, TRAIN))

    text = (
        f"1 of {identities} training identities have one camera only: pid {pid}; they can be used"
    )
    assert any(fault.startswith(f"warning: {text}") for fault in faults(data))


def test_images_without_a_pose_are_a_warning(data):
    bare = {path.name for path in files(data, TRAIN)[:3]}
    keep_rows(data, names(data) - bare)

    path = data / "keypoints.csv"
    assert f"warning: 3 training images have no row in {path}" in faults(data)


def test_rows_without_an_image_are_a_warning(data):
    add_row(data, f"0777_c1s1_000001_01.jpg: {MISSING}: {MISSING}")
    add_row(data, f"0778_c1s1_000001_01.jpg: {MISSING}: {MISSING}")

    path = data / "keypoints.csv"
    line = len(path.read_text().splitlines()) - 1
    text = "0777_c1s1_000001_01.jpg must be the name of an image of the data set (and 1 more row)"
    assert f"warning: {path}: line {line}: {text}" in faults(data)


def test_joints_outside_the_image_are_a_warning_that_names_the_line(data):
    name = files(data, TRAIN)[0].name
    keep_rows(data, names(data) - {name})
    add_row(data, f"{name}: {[5] * 17 + [50]}: {[5] * 17 + [64]}")

    path = data / "keypoints.csv"
    line = len(path.read_text().splitlines())
    text = f"x of {name} must be in 0..63, got 64 for the left ear"
    assert f"warning: {path}: line {line}: {text}" in faults(data)


def test_warning_of_a_joint_below_the_image_names_its_y(data):
    name = files(data, TRAIN)[0].name
    keep_rows(data, names(data) - {name})
    add_row(data, f"{name}: {[128] + [5] * 17}: {[5] * 18}")

    assert [f for f in faults(data) if f"y of {name} must be in 0..127, got 128 for the nose" in f]


def test_swapped_columns_are_one_error_that_names_the_line(data):
    path = data / "keypoints.csv"
    head, *rows = path.read_text().splitlines()
    swapped = [": ".join(row.split(": ")[i] for i in (0, 2, 1)) for row in rows]
    path.write_text("\n".join([head, *swapped]) + "\n")

    found = [f for f in faults(data) if "y must come before x" in f]

    first = next(
        number for number, row in enumerate(swapped, 2) if max(json.loads(row.split(": ")[2])) > 63
    )
    assert len(found) == 1
    assert found[0].startswith(f"error: {path}: line {first}: y must come before x, got x up to ")
    assert not [f for f in faults(data) if "must be in 0..63" in f or "above the hips" in f]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_other_separators_are_an_error_in_line_1(data, separator):
    path = data / "keypoints.csv"
    path.write_text(path.read_text().replace(":", separator))

    assert [f for f in faults(data) if f.startswith(f"error: {path}: line 1 must be 'name:keyp")]


def test_rows_with_another_separator_than_the_header_are_an_error(data):
    path = data / "keypoints.csv"
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *(row.replace(":", ";") for row in rows)]) + "\n")

    assert [f for f in faults(data) if f.startswith(f"error: {path}: line 2: a row must be")]


def test_error_of_a_second_row_names_both_lines(data):
    path = data / "keypoints.csv"
    _, first, *rows = path.read_text().splitlines()
    add_row(data, first)

    text = f"{path}: line {len(rows) + 3}: {first.split(':')[0]} has a row already, line 2; keep"
    assert [f for f in faults(data) if f.startswith(f"error: {text}")]


def test_shoulders_below_the_hips_are_a_warning_that_names_the_line(data):
    name = files(data, TRAIN)[0].name
    keep_rows(data, names(data) - {name})
    y = [100] * 8 + [60] * 6 + [110] * 4
    add_row(data, f"{name}: {y}: {[30] * 18}")

    path = data / "keypoints.csv"
    line = len(path.read_text().splitlines())
    text = f"shoulders must be above the hips, got them 40 pixels below in {name}"
    assert f"warning: {path}: line {line}: {text}" in faults(data)


def test_images_without_any_joint_are_a_warning(data):
    name = files(data, TRAIN)[0].name
    keep_rows(data, names(data) - {name})
    before = [f for f in faults(data) if "have no joint" in f]
    add_row(data, f"{name}: {MISSING}: {MISSING}")

    after = [f for f in faults(data) if "have no joint" in f]
    assert len(after) == 1
    assert after != before


def test_identities_without_a_usable_pose_are_a_warning(data):
    pid = pids(data, TRAIN)[0]
    keep_rows(data, names(data) - {path.name for path in files(data, TRAIN, pid)})

    text = f"1 of {len(pids(data, TRAIN))} training identities have no usable pose: pid {pid}"
    assert f"warning: {data / 'keypoints.csv'}: {text}" in faults(data)


def test_equal_images_in_training_and_in_the_test_are_an_error(data):
    path = files(data, TRAIN)[0]
    copy = shutil.copy(path, data / GALLERY / "0999_c1s1_000001_01.jpg")

    text = f"{path.name} and {Path(copy).name} are the same image, in training and in the test"
    assert f"error: {text}" in faults(data)


def test_equal_images_with_two_identities_are_an_error(data):
    path = files(data, TRAIN)[0]
    shutil.copy(path, data / TRAIN / "0999_c1s1_000001_01.jpg")

    assert [
        f
        for f in faults(data)
        if f.startswith("error") and "the same image with two identities" in f
    ]


def test_equal_images_are_a_warning_for_any_suffix(data):
    path = files(data, TRAIN)[0]
    copy = path.with_name(f"{path.stem}x.png")
    Image.open(path).save(copy)

    text = f"{path.name} and {copy.name} are the same image"
    assert f"warning: {text}" in faults(data)


def test_names_that_differ_in_case_or_suffix_only_are_a_warning(data):
    one, other = files(data, TRAIN)[:2]
    twin = one.with_name(one.name.upper())
    shutil.copy(other, twin)

    text = f"{twin.name} and {one.name} differ in case or suffix only"
    assert f"warning: {text}" in faults(data)


def test_junk_and_distractors_are_counted(data):
    shutil.copy(files(data, GALLERY)[0], data / GALLERY / "-1_c1s1_000001_01.jpg")
    distractors, junk = (len(files(data, GALLERY, pid)) for pid in (0, -1))

    lines = check_dataset(data, None).lines

    assert min(distractors, junk) > 0
    assert f"of the gallery {distractors} are distractors; {junk} junk boxes not counted" in lines


def test_overview_shows_crops_and_poses(data, tmp_path):
    name = files(data, TRAIN)[-1].name
    keep_rows(data, names(data) - {name})
    add_row(data, f"{name}: {[100] * 8 + [60] * 6 + [110] * 4}: {[30] * 18}")

    check_dataset(data, None, picture=tmp_path / "overview.png")

    with Image.open(tmp_path / "overview.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    first = np.asarray(
        Image.open(data / TRAIN / name).resize((128, 256), Image.Resampling.BICUBIC)
    )  # the doubtful image is the first
    tops = [y for y in range(64) if (pixels[y : y + 256, :128] == first).all()]
    assert len(tops) == 1
    assert (pixels[tops[0] : tops[0] + 256, 128:256] != first).any()


def test_data_set_without_a_usable_pose_is_an_error(data):
    keep_rows(data, set())

    assert [f for f in faults(data) if f.startswith("error") and "no image can be generated" in f]


def test_identity_in_training_and_in_query_is_an_error(data):
    path = files(data, QUERY)[0]
    pid = pids(data, TRAIN)[0]
    shutil.copy(path, data / QUERY / f"{pid:04d}_c1s1_999999_01.jpg")

    assert f"error: pid {pid} is in training and in query" in faults(data)


def test_equal_names_in_two_folders_are_an_error(data):
    path = files(data, QUERY)[0]
    shutil.copy(path, data / GALLERY)

    assert f"error: {path.name}: two images have this name" in faults(data)


def test_folder_without_images_is_an_error(data):
    remove(files(data, QUERY))

    assert f"error: {data / QUERY}: contains no image, for the split query" in faults(data)


def test_errors_come_before_warnings(data):
    files(data, TRAIN)[0].write_bytes(b"")
    add_row(data, f"0777_c1s1_000001_01.jpg: {MISSING}: {MISSING}")

    kinds = [fault.split(":")[0] for fault in faults(data)]

    assert kinds == sorted(kinds)
    assert {"error", "warning"} == set(kinds)


def test_folder_in_another_layout_is_refused(tmp_path):
    with pytest.raises(UserError, match="Market-1501 layout"):
        check_dataset(tmp_path, None)


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no such folder"):
        check_dataset(tmp_path / "gone", None)


def test_progress_covers_every_image(people):
    seen = []

    def watch(paths):
        for path in paths:
            seen.append(path.name)
            yield path

    check_dataset(people, None, watch)

    assert set(seen) == names(people)
    assert len(seen) == len(names(people))
