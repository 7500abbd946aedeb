"""What a stage command starts from."""

import pytest

from reid_aug.stages.stage import open_stage


@pytest.mark.parametrize(
    ("settings", "options", "keep"),
    [
        (("data.keep=0.2",), {"data.keep": None}, 0.2),
        (("data.keep=0.2",), {}, 0.2),
        (("data.keep=0.2",), {"data.keep": 0.5}, 0.5),
        ((), {"data.keep": None}, 1.0),
    ],
)
def test_only_an_option_that_was_given_overrides_a_setting(people, settings, options, keep):
    stage = open_stage(data=str(people), device="cpu", settings=settings, options=options)

    assert stage.recipe.data.keep == keep


def test_a_setting_of_the_seed_is_not_lost_either(people):
    stage = open_stage(data=str(people), settings=("seed=7",), options={"seed": None})

    assert stage.recipe.seed == 7
