import json
import re
from pathlib import Path

import pytest

from reid_aug.runtime.errors import UserError
from reid_aug.stages.recipe import Recipe, RunFolder, load_recipe, parse_settings, recipe_names
from reid_aug.stages.train_reid.settings import PRESETS, TrainReidConfig

SHIPPED = sorted(path.stem for path in (Path(__file__).parents[2] / "recipes").glob("*.toml"))


def recipe_file(folder: Path, text: str, name: str = "mine.toml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_recipes_of_the_folder_ship():
    assert recipe_names() == SHIPPED
    assert "demo" in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_loads(name):
    recipe = load_recipe(name)

    assert recipe.name == name
    assert json.loads(json.dumps(recipe.table())) == recipe.table()


def test_an_empty_recipe_is_all_defaults(tmp_path):
    assert load_recipe(recipe_file(tmp_path, "")) == Recipe("mine")


def test_a_recipe_overrides_defaults_and_leaves_the_rest(tmp_path):
    default = Recipe("mine").train_reid

    recipe = load_recipe(recipe_file(tmp_path, "[train_reid]\nsteps = 7\n")).train_reid

    assert recipe.steps == 7
    assert recipe.batch == default.batch


def test_an_option_overrides_the_recipe_which_overrides_the_default(tmp_path):
    path = recipe_file(tmp_path, "[train_reid]\nsteps = 7\nbatch = 9\n")

    recipe = load_recipe(path, {"train_reid.steps": 5}).train_reid

    assert (recipe.steps, recipe.batch, recipe.lr) == (5, 9, Recipe("").train_reid.lr)


def test_an_option_that_is_not_given_changes_nothing(tmp_path):
    path = recipe_file(tmp_path, "seed = 4\n[data]\nkeep = 0.5\n")

    assert load_recipe(path, {"seed": None, "data.keep": None}) == load_recipe(path)


def test_an_option_outside_the_tables_is_the_seed(tmp_path):
    assert load_recipe(recipe_file(tmp_path, "seed = 4"), {"seed": 11}).seed == 11


@pytest.mark.parametrize(
    ("text", "found", "nearest"),
    [
        ("[train_reid]\nstep = 3", "step", "steps"),
        ("[synthesize]\nratios = 0.5", "ratios", "ratio"),
        ("[trian_reid]\nsteps = 3", "trian_reid", "train_reid"),
        ("sead = 3", "sead", "seed"),
    ],
)
def test_an_unknown_key_names_the_file_and_the_nearest_key(tmp_path, text, found, nearest):
    path = recipe_file(tmp_path, text)

    with pytest.raises(UserError, match=f"{found!r}; did you mean {nearest}\\?") as caught:
        load_recipe(path)

    assert path in str(caught.value)


@pytest.mark.parametrize(
    ("option", "nearest"),
    [
        ("train_reid.stepps", "train_reid.steps"),
        ("train_raid.steps", "train_reid"),
        ("sed", "seed"),
        ("steps", "train_generator.steps or train_reid.steps"),
        ("synthesize.height", "data.height or train_reid.height"),
    ],
)
def test_an_unknown_option_names_the_nearest(option, nearest):
    with pytest.raises(UserError, match=f"{option}: .*did you mean {re.escape(nearest)}\\?"):
        load_recipe("demo", {option: 3})


def test_a_key_like_no_other_is_refused_without_a_guess(tmp_path):
    with pytest.raises(UserError, match=r"unknown key 'qqqq'$"):
        load_recipe(recipe_file(tmp_path, "qqqq = 3"))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[train_reid]\nsteps = 3.0", "steps must be of type int, got 3.0"),
        ("[train_reid]\nsteps = '3'", "steps must be of type int, got '3'"),
        ("[train_reid]\nsteps = true", "steps must be of type int, got True"),
        ("[train_reid]\nlr = true", "lr must be of type float, got True"),
        ("[train_reid]\nlr = '1e-3'", "lr must be of type float"),
        ("[train_reid]\nflip = 1", "flip must be of type bool, got 1"),
        ("[train_reid]\nbackbone = ['resnet50']", "backbone must be of type str"),
        ("train_reid = 3", "train_reid must be a table, got 3"),
        ("[seed]\nx = 3", "seed must be of type int"),
        ("seed = 1.0", "seed must be of type int, got 1.0"),
        ("seed = false", "seed must be of type int, got False"),
    ],
)
def test_a_value_of_another_type_is_refused(tmp_path, text, where):
    path = recipe_file(tmp_path, text)

    with pytest.raises(UserError, match=re.escape(where)) as caught:
        load_recipe(path)

    assert path in str(caught.value)


def test_a_whole_number_will_do_for_a_fraction(tmp_path):
    ratio = load_recipe(recipe_file(tmp_path, "[synthesize]\nratio = 2")).synthesize.ratio

    assert ratio == 2.0
    assert type(ratio) is float


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[train_reid]\nsteps = 0", "train_reid: steps must be 1 or more, got 0"),
        ("[synthesize]\nratio = nan", "synthesize.ratio must be a finite number, got nan"),
        ("[synthesize]\nmode = 'both'", "synthesize: mode must be one of"),
        ("[data]\nkeep = 0", "data: keep must be above 0"),
        ("seed = -1", "seed must be at least 0"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_place(tmp_path, text, where):
    path = recipe_file(tmp_path, text)

    with pytest.raises(UserError, match=re.escape(where)) as caught:
        load_recipe(path)

    assert path in str(caught.value)


def test_an_option_that_cannot_be_is_refused_too():
    with pytest.raises(UserError, match="train_reid: steps must be of type int, got 'many'"):
        load_recipe("demo", {"train_reid.steps": "many"})


def test_a_file_that_is_no_toml_is_named(tmp_path):
    path = recipe_file(tmp_path, "[train_reid\nsteps = 3")

    with pytest.raises(UserError, match=r"must be TOML, got .*line 1") as caught:
        load_recipe(path)

    assert path in str(caught.value)


def test_a_missing_file_is_refused_with_the_names_that_ship(tmp_path):
    path = str(tmp_path / "gone.toml")

    with pytest.raises(UserError, match=r"gone\.toml is missing.*demo"):
        load_recipe(path)


def test_an_unknown_name_is_refused_with_the_names_that_ship():
    with pytest.raises(UserError, match=r"'dmeo' must be a TOML file or one of .*demo"):
        load_recipe("dmeo")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("a.b=20", 20),
        ("a.b = 20", 20),
        ("a.b=2e-3", 0.002),
        ("a.b=true", True),
        ("a.b='20'", "20"),
        ("a.b=resnet50", "resnet50"),
        ("a.b=weights/a=b.pth", "weights/a=b.pth"),
        ("a.b=", ""),
    ],
)
def test_a_setting_is_read_as_toml_or_as_the_text_it_is(setting, value):
    parsed = parse_settings([setting])

    assert parsed == {"a.b": value}
    assert type(parsed["a.b"]) is type(value)


def test_of_two_settings_of_a_key_the_last_counts():
    assert parse_settings(["a.b=1", "c.d=2", "a.b=3"]) == {"a.b": 3, "c.d": 2}


@pytest.mark.parametrize("setting", ["train_reid.steps", "=3", " =3", ""])
def test_a_setting_without_a_key_or_a_value_is_refused(setting):
    with pytest.raises(UserError, match=re.escape(f"table.key=value, got {setting!r}")):
        parse_settings([setting])


def test_settings_reach_the_recipe():
    settings = parse_settings(["train_reid.steps=20", "train_reid.backbone=resnet50"])

    recipe = load_recipe("demo", settings)

    assert (recipe.train_reid.steps, recipe.train_reid.backbone) == (20, "resnet50")


def test_a_training_finds_the_bank_that_a_grid_made_for_its_kept_set(tmp_path):
    run = RunFolder(tmp_path)
    assert run.find_bank(0.2) == tmp_path / "bank.h5"
    below = run.below(0.2).bank
    below.parent.mkdir()
    below.touch()
    assert run.find_bank(0.2) == tmp_path / "keep-0.2/bank.h5"
    assert run.find_bank(0.4) == tmp_path / "bank.h5"
    run.bank.touch()
    assert run.find_bank(0.2) == tmp_path / "bank.h5"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.height", 130),
        ("data.width", 62),
        ("generator.downsamplings", 6),
        ("generator.joints", 17),
    ],
)
def test_sizes_that_the_generator_cannot_take_are_refused(key, value):
    with pytest.raises(UserError, match=r"must be a multiple of|joints must be 18"):
        load_recipe("demo", {key: value})


def test_a_named_training_lies_between_the_defaults_and_the_recipe(tmp_path):
    strong = PRESETS["strong"]
    path = recipe_file(tmp_path, '[train_reid]\npreset = "strong"\nlr = 1e-3')

    recipe = load_recipe(path, {"train_reid.erase": False}).train_reid

    assert (recipe.lr, recipe.erase) == (1e-3, False)
    others = strong.keys() - {"lr", "erase"}
    assert {key: getattr(recipe, key) for key in others} == {key: strong[key] for key in others}


def test_an_option_changes_the_training_and_not_what_the_recipe_says(tmp_path):
    path = recipe_file(tmp_path, '[train_reid]\npreset = "strong"\nlr = 1e-3')

    recipe = load_recipe(path, {"train_reid.preset": "plain"}).train_reid

    assert recipe == TrainReidConfig(lr=1e-3)


def test_a_recipe_takes_another_training_as_an_option_would():
    settings = {"train_reid.lr": 2e-3}
    strong = load_recipe("demo", {**settings, "train_reid.preset": "strong"})

    assert load_recipe("demo", settings).with_preset("strong") == strong
    assert strong.with_preset("plain") == load_recipe("demo", settings)


def test_a_training_that_fits_no_batch_is_refused(tmp_path):
    with pytest.raises(UserError, match="instances must be 0 or a divisor of batch"):
        load_recipe(recipe_file(tmp_path, '[train_reid]\npreset = "strong"\nbatch = 30'))


def test_no_recipe_says_what_it_says():
    assert "given" not in load_recipe("demo", {"seed": 3}).table()
    with pytest.raises(UserError, match="no such key"):
        load_recipe("demo", {"given": 3})
