"""Batches of a re-ID training: equal steps, every image in turn, people by the handful."""

import random
from collections import Counter
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from reid_aug.runtime.errors import UserError
from reid_aug.stages.train_reid.batches import Batches, Draw, Shuffles, Training
from reid_aug.stages.train_reid.settings import TrainReidConfig


class Mix:
    """So many real and generated images of each pid, without pixels."""

    def __init__(self, real, generated=None):
        def images(counts):
            return [pid for pid, count in sorted((counts or {}).items()) for _ in range(count)]

        self.pids = images(real) + images(generated)
        self.real = [SimpleNamespace(pid=pid) for pid in images(real)]
        self.generated = len(self.pids) - len(self.real)

    def __len__(self):
        return len(self.pids)

    def identity(self, index):
        return self.pids[index], 1

    def is_generated(self, index):
        return index >= len(self.real)

    def image(self, index):
        return np.full((4, 2, 3), index, np.uint8)


def places(mix, seed=0, start=0, **settings):
    config = TrainReidConfig(**settings)
    return [[draw.place for draw in batch] for batch in Batches(mix, config, seed, start)]


@pytest.mark.parametrize("size", [4, 10, 1000])
def test_steps_do_not_depend_on_the_size_of_the_mix(size):
    batches = places(Mix({1: size}), batch=4, steps=7)

    assert [len(batch) for batch in batches] == [4] * 7
    assert set(chain(*batches)) <= set(range(size))


def test_every_image_is_seen_once_before_any_is_seen_twice():
    flat = list(chain(*places(Mix({1: 10}), batch=4, steps=5)))

    assert sorted(flat[:10]) == sorted(flat[10:]) == list(range(10))
    assert flat[:10] != flat[10:]


def test_a_shuffle_is_the_same_from_any_place():
    whole = Shuffles(np.arange(7), [3, 4]).take(0, 50)

    assert [Shuffles(np.arange(7), [3, 4]).take(place, 5) for place in (0, 6, 20, 45)] == [
        whole[place : place + 5] for place in (0, 6, 20, 45)
    ]


@pytest.mark.parametrize(
    "settings",
    [{}, {"generated_share": 0.5}, {"instances": 2}, {"instances": 2, "generated_share": 0.5}],
    ids=str,
)
def test_a_training_that_goes_on_sees_the_batches_it_would_have_seen(settings):
    mix = Mix({1: 5, 2: 3, 3: 4, 4: 9, 5: 2}, {1: 4, 2: 3, 3: 3, 4: 5, 5: 1})
    settings = {"batch": 4, "steps": 30, **settings}

    whole = list(Batches(mix, TrainReidConfig(**settings), 0))

    assert list(Batches(mix, TrainReidConfig(**settings), 0, 17)) == whole[17:]
    assert len(Batches(mix, TrainReidConfig(**settings), 0, 17)) == 13
    assert whole != list(Batches(mix, TrainReidConfig(**settings), 1))
    numbers = [draw.number for batch in whole for draw in batch]
    assert numbers == list(range(30 * 4))


def test_parts_of_a_batch_make_the_batch():
    mix, config = Mix({1: 20}), TrainReidConfig(batch=6, steps=3)

    halves = [Batches(mix, config, 0, part=part) for part in (slice(0, 3), slice(3, 6))]

    assert [a + b for a, b in zip(*halves, strict=True)] == list(Batches(mix, config, 0))


def test_a_share_of_every_batch_is_generated():
    mix = Mix({1: 30}, {1: 8})

    batches = places(mix, batch=8, steps=20, generated_share=0.25)

    assert [sum(map(mix.is_generated, batch)) for batch in batches] == [2] * 20
    drawn = [place for place in chain(*batches) if mix.is_generated(place)]
    assert Counter(drawn) == dict.fromkeys(range(30, 38), 5)


def test_without_generated_images_a_share_of_them_means_nothing():
    mix = Mix({1: 30})

    assert places(mix, batch=8, steps=9, generated_share=0.5) == places(mix, batch=8, steps=9)


def test_batches_by_identity_hold_as_many_images_of_each_of_their_people():
    mix = Mix({pid: 3 + pid for pid in range(1, 8)})

    batches = places(mix, batch=12, steps=40, instances=4)

    for batch in batches:
        counts = Counter(mix.pids[place] for place in batch)
        assert list(counts.values()) == [4, 4, 4]
    people = Counter(mix.pids[place] for place in chain(*batches))
    assert max(people.values()) < 2 * min(people.values())


def test_an_identity_shows_all_its_images_in_turn():
    batches = places(Mix({1: 8, 2: 8}), batch=8, steps=10, instances=4)

    for lap in range(0, 10, 2):
        seen = Counter(chain(*batches[lap : lap + 2]))
        assert set(seen.values()) == {1}


def test_an_identity_with_few_images_shows_some_twice():
    batch = places(Mix({1: 1, 2: 9}), batch=8, steps=1, instances=4)[0]

    assert batch.count(0) == 4


def test_half_the_images_of_an_identity_are_generated_where_it_has_any():
    mix = Mix({1: 6, 2: 6, 3: 6}, {1: 5, 2: 1})

    for batch in places(mix, batch=12, steps=12, instances=4, generated_share=0.5):
        drawn = Counter(mix.pids[place] for place in batch if mix.is_generated(place))
        assert drawn == {1: 2, 2: 2}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"batch": 13}, r"train_reid\.batch \(13\) takes 13 images at once of a set of 12"),
        ({"batch": 10, "generated_share": 0.3}, "takes 3 images at once of a set of 2"),
        ({"batch": 16, "instances": 4}, "needs 4 identities, and the kept set has 2"),
    ],
)
def test_what_makes_no_batch_is_refused(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        Batches(Mix({1: 5, 2: 5}, {1: 2}), TrainReidConfig(**settings), 0)


def test_generated_images_are_nobody_new():
    training = Training(Mix({7: 2, 3: 2}, {3: 1, 7: 1}), np.asarray, 0)

    items = [training[Draw(place, 0)] for place in range(6)]

    assert [item["pid"] for item in items] == [0, 0, 1, 1, 0, 1]
    assert [item["is_generated"] for item in items] == [False] * 4 + [True] * 2


def test_the_random_changes_of_an_image_follow_its_number_alone():
    def transform(image):
        return random.random(), torch.rand(1).item()

    training = Training(Mix({1: 3}), transform, 0)
    random.seed(1), torch.manual_seed(1)

    first = training[Draw(0, 5)]["img"]
    other = training[Draw(0, 6)]["img"]

    assert training[Draw(0, 5)]["img"] == first != other
    assert Training(Mix({1: 3}), transform, 1)[Draw(0, 5)]["img"] != first
