"""A recipe as text: complete, true, and a recipe file itself."""

from dataclasses import fields, is_dataclass

import pytest

from reid_aug.cli import main
from reid_aug.stages.recipe import Recipe, load_recipe, recipe_names
from reid_aug.stages.recipe_listing import listing, meanings


@pytest.mark.parametrize("name", recipe_names())
def test_the_text_of_a_recipe_is_a_file_of_the_same_recipe(tmp_path, name):
    path = tmp_path / f"{name}.toml"
    path.write_text(listing(load_recipe(name)))

    assert load_recipe(str(path)) == load_recipe(name)


def test_every_key_has_a_meaning_of_at_least_three_words():
    for one in fields(Recipe):
        config = getattr(Recipe("any"), one.name)
        for kind in [type(config)] if is_dataclass(config) else []:
            about = meanings(kind)
            assert {field.name for field in fields(kind)} == set(about)
            assert all(len(text.split()) >= 3 and "`" not in text for text in about.values())


def test_a_key_stands_below_its_meaning_and_beside_its_default():
    text = listing(load_recipe("demo", {"data.keep": 0.5}))

    about = "# Fraction of the training images that are kept, above 0 and at most 1.\n"
    assert f"{about}keep = 0.5  # default 1.0\n" in text
    assert "# Height of a crop in pixels, 16 to 2048.\nheight = 128\n" in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_help_names_every_recipe():
    text = main.commands["recipe"].help

    assert all(name in text for name in recipe_names())
