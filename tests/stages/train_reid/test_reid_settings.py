"""The keys of a re-ID training: schedules, named sets, what cannot be, and words for all that."""

from dataclasses import asdict, replace

import pytest

from reid_aug.runtime.errors import UserError
from reid_aug.stages.train_reid.settings import (
    PRESETS,
    TrainReidConfig,
    caption_keys,
    describe_preset,
    preset_keys,
)

OLDER = {
    "backbone": "resnet18", "steps": 300, "batch": 32, "height": 64, "width": 32, "lr": 1e-3,
    "weight_decay": 5e-4, "schedule": "cosine", "label_smooth": True, "flip": True, "crop": True,
    "erase": False, "weights": "", "workers": 0,
}  # fmt: skip
STRONG = TrainReidConfig(preset="strong", **PRESETS["strong"])


def rates(steps, **settings):
    config = TrainReidConfig(steps=steps, **settings)
    return [config.rate(step) for step in range(steps)]


def test_the_step_schedule_drops_after_one_and_two_thirds():
    assert rates(30, schedule="step") == pytest.approx([1] * 10 + [0.1] * 10 + [0.01] * 10)


def test_the_bag_of_tricks_drops_after_40_and_70_of_its_120_epochs():
    assert rates(120, schedule="bot") == pytest.approx([1] * 40 + [0.1] * 30 + [0.01] * 50)


def test_the_cosine_schedule_falls_to_nothing():
    config = TrainReidConfig(steps=30, schedule="cosine")

    assert [config.rate(i) for i in (0, 15, 30)] == pytest.approx([1, 0.5, 0])


def test_the_warm_up_rises_in_a_line_to_the_full_rate():
    assert rates(40, schedule="bot", warmup=0.1)[:6] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_short_training_has_a_rate_at_every_step(steps):
    assert all(0 < rate <= 1 for rate in rates(steps, schedule="bot", warmup=0.9))


def test_every_training_sets_the_same_keys_so_one_replaces_another():
    assert {frozenset(keys) for keys in PRESETS.values()} == {frozenset(PRESETS["plain"])}


def test_plain_is_the_default():
    default = TrainReidConfig()

    assert replace(default, **PRESETS["plain"]) == default


def test_what_was_given_is_no_training_s():
    keys = preset_keys("strong", {"train_reid.lr", "data.keep"})

    assert "lr" not in keys
    assert keys == {key: value for key, value in PRESETS["strong"].items() if key != "lr"}


def test_the_words_for_a_training_are_its_name_and_every_deviation():
    def words(ratio=1.0, **changes):
        return describe_preset(asdict(replace(STRONG, **changes)), ratio)

    assert words() == ["strong"]
    assert words(erase=False, warmup=0.2) == ["strong", "warm-up 0.2", "no random erasing"]
    assert words(last_stride=0, bf16=True) == ["strong", "last stride 0"]
    assert describe_preset(asdict(TrainReidConfig(bnneck=True)), 0.0) == ["BNNeck"]


def test_policies_for_generated_images_are_named_where_there_are_any():
    recipe = asdict(
        replace(
            STRONG, generated_label="uniform", generated_weight=0.5, generated_triplet=False,
            generated_share=0.25,
        )
    )  # fmt: skip

    assert describe_preset(recipe, 1.0) == [
        "strong", "generated labels uniform", "generated weight 0.5", "no generated triplets",
        "generated share 0.25",
    ]  # fmt: skip
    assert describe_preset(recipe, 0.0) == ["strong"]


def test_a_result_of_an_older_version_is_described_as_it_was():
    assert describe_preset(OLDER, 1.0) == []
    assert describe_preset({**OLDER, "erase": True}, 1.0) == ["random erasing"]
    usual = {key: OLDER[key] for key in OLDER if key != "erase"}
    assert caption_keys(OLDER) == usual
    assert caption_keys({**OLDER, "beta2": 0.999}) == usual
    assert caption_keys({**OLDER, "beta2": 0.99}) == {**usual, "beta2": 0.99}


def test_trainings_share_a_caption_unless_a_key_was_given():
    plain = TrainReidConfig()

    assert caption_keys(asdict(STRONG)) == caption_keys(asdict(plain))
    cosine = {"schedule": "cosine", "lr": 1e-3}
    given = caption_keys(asdict(replace(STRONG, **cosine)))
    assert given == caption_keys(asdict(replace(plain, **cosine)))
    assert given != caption_keys(asdict(plain))


def test_another_precision_is_another_table():
    plain = TrainReidConfig()

    assert "bf16" not in caption_keys(asdict(plain))
    assert caption_keys(asdict(replace(plain, bf16=True))) == {
        **caption_keys(asdict(plain)), "bf16": True
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", 0),
        ("batch", 1),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("schedule", "x"),
        ("height", 8),
        ("preset", "weak"),
        ("beta2", 1.0),
        ("warmup", 1.0),
        ("warmup", float("nan")),
        ("last_stride", 2),
        ("instances", 1),
        ("instances", 5),
        ("triplet_weight", 1.0),
        ("triplet_margin", -0.1),
        ("generated_label", "soft"),
        ("generated_label", "smoothed"),
        ("generated_weight", 0.0),
        ("generated_share", 1.0),
        ("generated_share", 0.001),
        ("weights_data", "external"),
    ],
)
def test_values_that_cannot_be_are_refused_by_name(key, value):
    with pytest.raises(UserError, match=key):
        TrainReidConfig(**{key: value})


def test_what_trained_the_weights_is_external_or_not_declared():
    with pytest.raises(UserError, match="weights_data must be external or empty, got 'kept'"):
        TrainReidConfig(weights="a.pth", weights_data="kept")


def test_what_trained_the_weights_is_said_by_the_row_and_not_by_the_caption():
    start = TrainReidConfig(weights="a.pth")

    declared = caption_keys(asdict(replace(start, weights_data="external")))

    assert declared == caption_keys(asdict(start))
    assert "weights_data" not in declared


def test_one_identity_in_a_batch_has_no_triplets():
    with pytest.raises(UserError, match="triplet_weight"):
        TrainReidConfig(batch=4, instances=4, triplet_weight=1.0)


def test_a_share_of_an_identity_s_images_is_a_whole_number_of_them():
    assert TrainReidConfig(instances=4, generated_share=0.25).generated_share == 0.25
    with pytest.raises(UserError, match="generated_share must be a whole number of the 4"):
        TrainReidConfig(instances=4, generated_share=0.3)


def test_labels_can_be_smoothed_for_generated_images_alone():
    config = TrainReidConfig(label_smooth=False, generated_label="smoothed")

    assert config.generated_label == "smoothed"
