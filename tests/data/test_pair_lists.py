from itertools import permutations

import numpy as np
import pytest

from reid_aug.data.keypoints import NO_POSE, TORSO, Pose
from reid_aug.data.pair_lists import all_pairs, pairs_sha256, read_pairs, sampled_pairs, write_pairs
from reid_aug.runtime.errors import UserError

POSE = Pose(np.zeros((18, 2), np.float32))


def without(joint: int) -> Pose:
    xy = POSE.xy.copy()
    xy[joint] = np.nan
    return Pose(xy)


def people(*counts: int) -> dict[str, Pose]:
    return {
        f"{pid:04d}_c{image}s1_{image:06d}_01.jpg": POSE
        for pid, count in enumerate(counts, 1)
        for image in range(1, count + 1)
    }


def test_all_pairs_are_the_ordered_pairs_of_each_identity():
    poses = people(3, 1, 2)

    pairs = all_pairs(poses)

    names = list(poses)
    assert pairs == [*permutations(names[:3], 2), *permutations(names[4:], 2)]


def test_identities_are_in_the_order_of_their_first_row():
    poses = dict.fromkeys(["0009_a.jpg", "0002_a.jpg", "0009_b.jpg", "0002_b.jpg"], POSE)

    assert all_pairs(poses) == [
        ("0009_a.jpg", "0009_b.jpg"), ("0009_b.jpg", "0009_a.jpg"),
        ("0002_a.jpg", "0002_b.jpg"), ("0002_b.jpg", "0002_a.jpg"),
    ]  # fmt: skip


@pytest.mark.parametrize("joint", TORSO)
def test_shoulders_and_hips_must_be_seen(joint):
    poses = people(3)
    first = next(iter(poses))
    poses[first] = without(joint)

    assert len(all_pairs(poses)) == 2
    assert first not in {name for pair in all_pairs(poses) for name in pair}


def test_other_joints_may_be_missing():
    poses = {name: without(0) for name in people(3)}

    assert len(all_pairs(poses)) == 6


@pytest.mark.parametrize("start", ["-1", "0000"])
def test_junk_and_distractors_have_no_pairs(start):
    assert all_pairs({f"{start}_c1s1_{image}.jpg": POSE for image in range(3)}) == []


def test_sample_equals_that_of_numpy_with_the_same_seed():
    poses = people(*range(2, 12))
    pairs = all_pairs(poses)
    chosen = np.random.RandomState(0).permutation(len(pairs))[:50]  # the result of choice

    assert sampled_pairs(poses, 50) == [pairs[place] for place in chosen]


def test_order_of_the_rows_matters():
    poses = people(*range(2, 12))
    other = dict(reversed(poses.items()))

    assert set(all_pairs(poses)) == set(all_pairs(other))
    assert len(set(sampled_pairs(poses, 50)) & set(sampled_pairs(other, 50))) < 25


def test_all_pairs_are_returned_if_there_are_fewer_than_count():
    assert sampled_pairs(people(2, 3), 12_000) == all_pairs(people(2, 3))


def test_error_without_a_pair_names_the_remedy():
    with pytest.raises(UserError, match="check the keypoints with: reid-aug check"):
        sampled_pairs({"a.jpg": NO_POSE})


def test_list_is_read_as_written(tmp_path):
    pairs = all_pairs(people(2, 3))

    write_pairs(tmp_path / "p.csv", pairs)

    assert read_pairs(tmp_path / "p.csv") == pairs
    assert (tmp_path / "p.csv").read_text().splitlines()[0] == "from,to"


def test_list_saved_by_excel_is_read(tmp_path):
    (tmp_path / "p.csv").write_text("\ufefffrom,to\r\na.jpg,b.jpg\r\n", encoding="utf-8")

    assert read_pairs(tmp_path / "p.csv") == [("a.jpg", "b.jpg")]


def test_hash_identifies_a_list():
    pairs = all_pairs(people(2, 3))

    assert pairs_sha256(pairs) == pairs_sha256(list(pairs))
    assert pairs_sha256(pairs) != pairs_sha256(pairs[::-1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg,b.jpg\n", "line 1 must be 'from,to', got 'a.jpg,b.jpg'"),
        ("", "line 1 must be 'from,to', got ''"),
        ("from,to\na.jpg,b.jpg\na.jpg\n", "line 3: must be two file names, got 'a.jpg'"),
        ("from,to\na.jpg,\n", "line 2: must be two file names, got 'a.jpg,'"),
        ("from,to\n", "must contain a pair, got only the header"),
    ],
)
def test_malformed_list_is_a_user_error(tmp_path, text, message):
    (tmp_path / "p.csv").write_text(text)

    with pytest.raises(UserError) as caught:
        read_pairs(tmp_path / "p.csv")
    assert message in str(caught.value)


def test_missing_list_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"p.csv is missing"):
        read_pairs(tmp_path / "p.csv")
