from itertools import permutations

import numpy as np
import pytest

from reid_aug.data.keypoints import NO_POSE, TORSO, Pose
from reid_aug.data.pair_lists import all_pairs, pairs_sha256, read_pairs, sampled_pairs, write_pairs
from reid_aug.runtime.errors import UserError

SHOWN = Pose(np.zeros((18, 2), np.float32))


def without(joint: int) -> Pose:
    xy = SHOWN.xy.copy()
    xy[joint] = np.nan
    return Pose(xy)


def people(*counts: int) -> dict[str, Pose]:
    return {
        f"{pid:04d}_c{image}s1_{image:06d}_01.jpg": SHOWN
        for pid, count in enumerate(counts, 1)
        for image in range(1, count + 1)
    }


def test_every_ordered_pair_of_an_identity():
    poses = people(3, 1, 2)

    pairs = all_pairs(poses)

    names = list(poses)
    assert pairs == [*permutations(names[:3], 2), *permutations(names[4:], 2)]


def test_identities_come_in_the_order_of_their_first_row():
    poses = dict.fromkeys(["0009_a.jpg", "0002_a.jpg", "0009_b.jpg", "0002_b.jpg"], SHOWN)

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
def test_junk_and_distractors_pair_with_nobody(start):
    assert all_pairs({f"{start}_c1s1_{image}.jpg": SHOWN for image in range(3)}) == []


def test_the_sample_is_numpys_with_that_seed():
    poses = people(*range(2, 12))
    pairs = all_pairs(poses)
    chosen = np.random.RandomState(0).permutation(len(pairs))[:50]  # what choice draws

    assert sampled_pairs(poses, 50) == [pairs[place] for place in chosen]


def test_the_order_of_the_rows_matters():
    poses = people(*range(2, 12))
    other = dict(reversed(poses.items()))

    assert set(all_pairs(poses)) == set(all_pairs(other))
    assert len(set(sampled_pairs(poses, 50)) & set(sampled_pairs(other, 50))) < 25


def test_fewer_pairs_than_asked_for_are_all():
    assert sampled_pairs(people(2, 3), 12_000) == all_pairs(people(2, 3))


def test_without_a_pair_the_remedy_is_named():
    with pytest.raises(UserError, match="look at the key points with: reid-aug check"):
        sampled_pairs({"a.jpg": NO_POSE})


def test_a_list_comes_back_from_its_file(tmp_path):
    pairs = all_pairs(people(2, 3))

    write_pairs(tmp_path / "p.csv", pairs)

    assert read_pairs(tmp_path / "p.csv") == pairs
    assert (tmp_path / "p.csv").read_text().splitlines()[0] == "from,to"


def test_a_list_that_excel_saved_is_read_too(tmp_path):
    (tmp_path / "p.csv").write_text("\ufefffrom,to\r\na.jpg,b.jpg\r\n", encoding="utf-8")

    assert read_pairs(tmp_path / "p.csv") == [("a.jpg", "b.jpg")]


def test_a_list_has_a_name():
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
        ("from,to\n", "must hold a pair, got only the header"),
    ],
)
def test_a_wrong_list_is_one_sentence(tmp_path, text, message):
    (tmp_path / "p.csv").write_text(text)

    with pytest.raises(UserError) as caught:
        read_pairs(tmp_path / "p.csv")
    assert message in str(caught.value)


def test_a_missing_list_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"p.csv is missing"):
        read_pairs(tmp_path / "p.csv")
