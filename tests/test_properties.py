"""Properties that hold for all inputs, on generated examples (hypothesis)."""

import contextlib
import json
import math
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reid_aug.data.dataset import PersonImage, kept, parse_name, seats, share
from reid_aug.data.keypoints import JOINTS, Pose, read_keypoints, write_keypoints
from reid_aug.evaluation import evaluate
from reid_aug.mixing import Mix, effective_keep
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.json_toml import LEAST, MOST, check_value, parse_json

few = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
NAMES = st.from_regex(r"[0-9]{1,6}_c[1-9][a-z0-9_]{0,12}\.jpg", fullmatch=True)
COUNTS = st.dictionaries(st.integers(1, 9999), st.integers(1, 40), min_size=1, max_size=12)
PARTS = st.decimals("0.01", "1", places=3).map(float)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(LEAST, MOST)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=20,
)


def images_of(counts: dict[int, int]) -> list[PersonImage]:
    return [
        PersonImage(Path(f"{pid:04d}_c{1 + n % 6}_{n}.jpg"), pid, 1 + n % 6)
        for pid, count in counts.items()
        for n in range(count)
    ]


@few
@given(NAMES)
def test_the_name_of_an_image_gives_its_numbers(name):
    image = parse_name(Path(name))

    assert name.startswith(f"{name.split('_')[0]}_c{image.camid}")
    assert image.pid == int(name.split("_")[0])


@few
@given(st.text(max_size=30))
def test_any_other_name_is_refused_in_a_sentence(name):
    with pytest.raises(UserError, match="must begin with <pid>_c<camera>"):
        parse_name(Path(f"x{name}"))


@few
@given(st.data())
def test_keypoints_are_read_as_they_were_written(tmp_path, data):
    names = data.draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    pair = st.tuples(st.integers(0, 99_999), st.integers(0, 99_999)) | st.none()
    rows = st.lists(pair, min_size=len(JOINTS), max_size=len(JOINTS))
    poses = {
        name: Pose(
            np.array([(np.nan, np.nan) if xy is None else xy for xy in data.draw(rows)], np.float32)
        )
        for name in names
    }

    write_keypoints(tmp_path / "k.csv", poses)

    found = read_keypoints(tmp_path / "k.csv")
    assert sorted(found) == sorted(poses)
    for name, pose in poses.items():
        np.testing.assert_array_equal(found[name].xy, pose.xy)


@few
@given(COUNTS, st.integers(1, 60))
def test_seats_favour_no_identity_and_never_exceed_its_images(counts, seat_count):
    seat_count = min(seat_count, sum(counts.values()))
    taken = dict.fromkeys(counts, 0)
    for pid, seat in islice(seats(counts), seat_count):
        assert seat == taken[pid]
        taken[pid] += 1

    if seat_count >= len(counts):
        assert all(1 <= taken[pid] <= counts[pid] for pid in counts)


@few
@given(COUNTS, PARTS, PARTS, st.integers(LEAST, MOST))
def test_a_smaller_kept_set_lies_in_a_larger_one(counts, one, other, seed):
    images = images_of(counts)
    small, large = (kept(images, part, seed) for part in sorted((one, other)))

    assert large[: len(small)] == small
    assert {image.pid for image in small} == set(counts)
    assert len(large) == share(max(one, other), len(images), len(counts))


@few
@given(COUNTS, st.decimals("0", "0.99", places=2).map(float))
def test_a_mix_keeps_every_identity(counts, ratio):
    images = images_of(counts)
    part = effective_keep(ratio, "replace", 1.0)
    mix = Mix(images, keep=part)

    assert {mix.identity(index)[0] for index in range(len(mix))} == set(counts)
    assert mix.generated == 0


@few
@given(st.integers(1, 4), st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_scores_are_fractions_and_do_not_depend_on_shift_scale_or_order(queries, gallery, seed):
    rng = np.random.default_rng(seed)
    pids = rng.integers(1, 4, gallery)
    found = rng.random((queries, gallery)).astype(np.float32)
    args = pids[rng.integers(0, gallery, queries)], pids, np.zeros(queries), np.ones(gallery)
    scores = evaluate(found, *args)
    order = rng.permutation(gallery)

    other = evaluate(2 * found[:, order] + 1, args[0], pids[order], args[2], args[3][order])

    for name in ("mAP", "mINP"):
        assert 0 <= getattr(scores, name) <= 1
        assert math.isclose(getattr(scores, name), getattr(other, name), abs_tol=1e-6)


@few
@given(VALUES)
def test_json_of_plain_values_is_read_as_it_was_written(value):
    check_value(value)

    assert parse_json(json.dumps(value), "a.json") == value


@few
@given(st.text(max_size=200))
def test_any_text_is_json_or_refused_in_a_sentence(text):
    with contextlib.suppress(UserError):  # any other error is one
        check_value(parse_json(text, "a.json"))
