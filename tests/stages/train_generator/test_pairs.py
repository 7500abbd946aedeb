from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch

from reid_aug.data.dataset import DataConfig, PersonImage, read_image, read_market1501
from reid_aug.data.keypoints import Pose, read_keypoints
from reid_aug.runtime.errors import UserError
from reid_aug.stages.train_generator.pairs import PairBatch, Pairs

FULL = DataConfig(height=128, width=64)
SMALL = DataConfig(height=32, width=16)
SIZE = SMALL.height, SMALL.width
SIDES = {2: 5, 3: 6, 4: 7, 8: 11, 9: 12, 10: 13, 14: 15, 16: 17}
SIDES |= {left: right for right, left in SIDES.items()}
OTHER_SIDE = [SIDES.get(joint, joint) for joint in range(18)]


@pytest.fixture(scope="module")
def images(people: Path) -> tuple[PersonImage, ...]:
    return read_market1501(people).train


@pytest.fixture(scope="module")
def poses(people: Path) -> dict[str, Pose]:
    return read_keypoints(people / "keypoints.csv")


def standing() -> Pose:
    return Pose(np.ones((18, 2), np.float32))


def faceless(joint: int) -> Pose:
    pose = standing()
    pose.xy[joint] = np.nan
    return pose


def person(pid: int, camid: int, number: int) -> PersonImage:
    return PersonImage(Path(f"{pid:04d}_c{camid}s1_{number:06d}_01.jpg"), pid, camid)


def named_pairs(pairs: Pairs) -> list[tuple[str, str]]:
    found = [pairs.pair(index) for index in range(pairs.count)]
    return [(pairs.images[a].name, pairs.images[b].name) for a, b in found]


def assert_same(got: PairBatch, expected: PairBatch) -> None:
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def mirrored(batch: PairBatch) -> PairBatch:
    width = batch.image.shape[2]

    def other_side(xy: torch.Tensor) -> torch.Tensor:
        xy = xy[:, OTHER_SIDE].clone()
        xy[..., 0] = width - 1 - xy[..., 0]
        return xy

    image, truth, source, target, cameras = batch
    return PairBatch(image.flip(2), truth.flip(2), other_side(source), other_side(target), cameras)


def sample(batch: PairBatch, place: int) -> PairBatch:
    return PairBatch(*(part[place : place + 1] for part in batch))


def is_same(one: PairBatch, other: PairBatch) -> bool:
    return torch.equal(one.image, other.image)


def test_pairs_are_all_ordered_pairs_of_an_identity(images, poses):
    pairs = Pairs(images, poses, SMALL, steps=1, batch=1)

    usable = [image for image in images if poses[image.name].has_torso]
    expected = {
        (a.name, b.name)
        for pid in {image.pid for image in usable}
        for a, b in permutations([image for image in usable if image.pid == pid], 2)
    }
    assert len(named_pairs(pairs)) == len(expected) > 100
    assert set(named_pairs(pairs)) == expected


def test_pairs_of_one_camera_are_all_ordered_pairs_of_an_identity_under_it(images, poses):
    pairs = Pairs(images, poses, SMALL, steps=1, batch=1, cameras="same")

    usable = [image for image in images if poses[image.name].has_torso]
    expected = {
        (a.name, b.name) for a, b in permutations(usable, 2) if (a.pid, a.camid) == (b.pid, b.camid)
    }
    assert len(named_pairs(pairs)) == len(expected) > 50
    assert set(named_pairs(pairs)) == expected


def test_an_identity_of_n_images_has_n_times_n_minus_one_pairs():
    images = [person(pid, 1, k) for pid, n in ((1, 4), (2, 1), (3, 2), (9, 5)) for k in range(n)]
    poses = {image.name: standing() for image in images}

    pairs = Pairs(images, poses, SMALL, steps=1, batch=1)

    assert pairs.count == 4 * 3 + 2 * 1 + 5 * 4
    pids = [int(source.split("_")[0]) for source, _ in named_pairs(pairs)]
    assert [pids.count(pid) for pid in (1, 2, 3, 9)] == [12, 0, 2, 20]


def test_a_batch_names_the_cameras_of_image_and_truth(images, poses):
    pairs = Pairs(images, poses, SMALL, steps=1, batch=1)
    a, b = next(
        pair
        for pair in map(pairs.pair, range(pairs.count))
        if pairs.images[pair[0]].camid != pairs.images[pair[1]].camid
    )

    batch = pairs.batch([(a, b), (b, a)], [False, True])

    camids = [pairs.images[a].camid, pairs.images[b].camid]
    assert batch.cameras.dtype == torch.int64
    assert batch.cameras.tolist() == [camids, camids[::-1]]


@pytest.mark.parametrize("joint", [2, 5, 8, 11])
def test_image_without_a_whole_torso_is_never_used(joint):
    images = [person(1, 1, k) for k in range(4)]
    poses = {image.name: standing() for image in images}
    poses[images[1].name] = faceless(joint)
    del poses[images[3].name]

    pairs = Pairs(images, poses, SMALL, steps=1, batch=1)

    expected = set(permutations([images[0].name, images[2].name], 2))
    assert set(named_pairs(pairs)) == expected


def test_image_without_a_face_is_used():
    images = [person(1, 1, k) for k in range(2)]
    poses = {image.name: faceless(0) for image in images}

    assert Pairs(images, poses, SMALL, steps=1, batch=1).count == 2


def test_no_pair_at_all_is_an_error():
    single = [person(pid, 1, 0) for pid in range(3)]
    poses = {image.name: standing() for image in single}

    with pytest.raises(UserError, match="got 3 such images and no pair"):
        Pairs(single, poses, SMALL, steps=1, batch=1)


def test_no_pair_under_one_camera_is_an_error():
    twice = [person(1, camid, 0) for camid in (1, 2)]
    poses = {image.name: standing() for image in twice}

    assert Pairs(twice, poses, SMALL, steps=1, batch=1).count == 2
    with pytest.raises(UserError, match="cameras: same"):
        Pairs(twice, poses, SMALL, steps=1, batch=1, cameras="same")


def test_no_key_points_at_all_is_an_error(images):
    with pytest.raises(UserError, match="shoulders and hips are known"):
        Pairs(images, {}, SMALL, steps=1, batch=1)


def test_there_is_one_batch_a_step(images, poses):
    pairs = Pairs(images, poses, SMALL, steps=7, batch=3)

    batch = pairs[6]

    assert len(pairs) == 7
    assert batch.image.shape == batch.truth.shape == (3, 32, 16, 3)
    assert batch.source.shape == batch.target.shape == (3, 18, 2)
    assert batch.image.dtype == torch.uint8
    assert batch.source.dtype == torch.float32


def test_batch_does_not_depend_on_what_was_read_before(images, poses):
    straight, jumping = (
        Pairs(images, poses, SMALL, steps=9, batch=4, seed=3, flip=True) for _ in range(2)
    )

    in_order = [straight[step] for step in range(4)]

    for step in (3, 1, 2, 0, 3):
        assert_same(jumping[step], in_order[step])


def test_batch_depends_on_step_and_seed(images, poses):
    pairs = Pairs(images, poses, SMALL, steps=9, batch=8, seed=3)
    other = Pairs(images, poses, SMALL, steps=9, batch=8, seed=4)

    assert not torch.equal(pairs[0].image, pairs[1].image)
    assert not torch.equal(pairs[0].image, other[0].image)


def test_batch_holds_the_pictures_and_key_points_of_its_pairs(images, poses):
    pairs = Pairs(images, poses, FULL, steps=1, batch=1)
    a, b = pairs.pair(5)

    batch = pairs.batch([(a, b)], [False])

    for pixels, xy, place in ((batch.image, batch.source, a), (batch.truth, batch.target, b)):
        image = pairs.images[place]
        np.testing.assert_array_equal(pixels[0].numpy(), read_image(image.path, 128, 64))
        np.testing.assert_array_equal(xy[0].numpy(), poses[image.name].xy)


def test_key_points_are_scaled_with_their_picture(images, poses):
    pairs = Pairs(images, poses, SMALL, steps=1, batch=1)
    a, b = pairs.pair(5)

    batch = pairs.batch([(a, b)], [False])

    expected = (poses[pairs.images[b].name].xy + 0.5) / 4 - 0.5
    np.testing.assert_allclose(batch.target[0].numpy(), expected, rtol=1e-6)


def test_flip_mirrors_pixels_and_swaps_joints(images, poses):
    pairs = Pairs(images, poses, FULL, steps=1, batch=1)
    places = [pairs.pair(5), pairs.pair(60)]

    flipped = pairs.batch(places, [True, True])

    assert_same(flipped, mirrored(pairs.batch(places, [False, False])))


def test_only_the_pairs_asked_for_are_flipped(images, poses):
    pairs = Pairs(images, poses, SMALL, steps=1, batch=1)
    places = [pairs.pair(5), pairs.pair(60)]
    plain = pairs.batch(places, [False, False])

    batch = pairs.batch(places, [False, True])

    assert_same(sample(batch, 0), sample(plain, 0))
    assert_same(sample(batch, 1), sample(mirrored(plain), 1))


def test_about_half_of_the_drawn_pairs_are_flipped_when_flipping_is_on(images, poses):
    plain = Pairs(images, poses, SMALL, steps=1, batch=100)[0]
    mirror = mirrored(plain)

    drawn = Pairs(images, poses, SMALL, steps=1, batch=100, flip=True)[0]

    flipped = [is_same(sample(drawn, place), sample(mirror, place)) for place in range(100)]
    assert 30 < sum(flipped) < 70
    for place, flip in enumerate(flipped):
        assert_same(sample(drawn, place), sample(mirror if flip else plain, place))


def test_draws_are_uniform_over_pairs(images, poses):
    few = [image for image in images if image.pid == 2 and poses[image.name].has_torso][:3]
    pairs = Pairs(few, poses, SMALL, steps=1, batch=600)

    batch = pairs[0]

    drawn = [
        one.numpy().tobytes() + two.numpy().tobytes()
        for one, two in zip(batch.source, batch.target, strict=True)
    ]
    counts = [drawn.count(pair) for pair in set(drawn)]
    assert len(counts) == 6
    assert min(counts) > 65
    assert max(counts) < 140


def test_samples_are_eight_fixed_pairs_of_all_identities(images, poses):
    pairs = Pairs(images, poses, SMALL, steps=9, batch=2, seed=3)
    samples = pairs.samples()
    pairs[0]

    assert len(samples.image) == 8
    assert_same(pairs.samples(), samples)
    assert len({pose.numpy().tobytes() for pose in samples.source}) > 4


def pairs_with(folder, **changes):
    images, poses = read_market1501(folder).train, read_keypoints(folder / "keypoints.csv")
    return Pairs(images, poses, SMALL, steps=50, batch=32, **changes)


@pytest.mark.parametrize("cameras", ["any", "same"])
def test_balanced_pairs_take_every_identity_equally_often(people, cameras):
    images, poses = read_market1501(people).train, read_keypoints(people / "keypoints.csv")
    usable = [image for image in images if poses[image.name].has_torso]
    first = usable[0].pid
    few = [image for image in usable if image.pid == first][:2]
    few = [replace(image, camid=1) for image in few]
    uneven = [*few, *(image for image in usable if image.pid != first)]
    part = {}
    for weighting in ("all", "balanced"):
        pairs = Pairs(
            uneven, poses, SMALL, steps=50, batch=400, cameras=cameras, weighting=weighting
        )
        drawn = pairs._draw(np.random.default_rng(0))
        whom = [pairs.images[pairs.pair(int(i))[0]].pid for i in drawn]
        both = {
            pairs.images[place].pid == pid
            for i, pid in zip(drawn, whom, strict=True)
            for place in pairs.pair(int(i))
        }
        assert both == {True}
        part[weighting] = whom.count(first) / len(whom)
    assert part["all"] < 0.1
    assert part["balanced"] == pytest.approx(1 / len({image.pid for image in uneven}), abs=0.06)


@pytest.mark.parametrize("cameras", ["any", "same"])
def test_held_out_identities_are_in_no_batch_and_in_every_examination(people, cameras):
    pairs = pairs_with(people, held_out=2, cameras=cameras)
    everybody = {image.pid for image in pairs.images}
    taught = {pairs.images[place].pid for i in range(pairs.count) for place in pairs.pair(i)}
    batches = pairs.validation()

    assert len(taught) == len(everybody) - 2
    assert sum(len(batch.image) for batch in batches) >= 64
    whole = pairs_with(people, held_out=0, cameras=cameras)
    outside = [place for place, image in enumerate(whole.images) if image.pid not in taught]
    known = {whole._read(place, False)[0].tobytes() for place in outside}
    for batch in batches:
        assert {image.numpy().tobytes() for image in (*batch.image, *batch.truth)} <= known
    for some, same in zip(batches, pairs.validation(), strict=True):
        assert torch.equal(some.image, same.image)


def test_nobody_held_out_is_examined_by_nobody(people):
    assert pairs_with(people).validation() == []


def test_somebody_must_be_left_to_train_on(people):
    count = len({image.pid for image in pairs_with(people).images})
    with pytest.raises(UserError, match=f"held_out must leave identities .* of {count} .* got 9"):
        pairs_with(people, held_out=9)
