"""The grid: the cells that a TOML file expands to, and their names."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from reid_aug.people import PeopleConfig
from reid_aug.runtime.errors import UserError
from reid_aug.stages.recipe import load_recipe, shipped
from reid_aug.study.cell import Cell, cell_recipe, shared_recipe
from reid_aug.study.grid import Grid, grid_recipe, load_grid

SHIPPED = sorted(
    path.stem for path in (Path(__file__).parents[2] / "benchmarks/grids").glob("*.toml")
)


def grid_file(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_grids_of_the_folder_ship():
    assert shipped("grids") == SHIPPED
    assert "demo" in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_grid_loads_with_its_recipe(name):
    grid = load_grid(name)

    recipe = grid_recipe(grid, {})

    assert grid.name == name
    assert grid.cells()
    assert all(cell_recipe(recipe, cell).seed == cell.seed for cell in grid.cells())


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_grid_has_its_baselines(name):
    cells = load_grid(name).cells()

    mixed = {(cell.backbone, cell.keep, cell.seed) for cell in cells if cell.ratio}
    assert mixed == {(cell.backbone, cell.keep, cell.seed) for cell in cells if not cell.ratio}


def test_ratio_0_stands_once_over_the_modes():
    grid = Grid("g", "demo", ("a",), ("supplement", "replace"), (0.0, 0.5), seed=(0,))

    assert [(cell.mode, cell.ratio) for cell in grid.cells()] == [
        ("supplement", 0.0),
        ("supplement", 0.5),
        ("replace", 0.5),
    ]


def test_seeds_are_outermost():
    grid = Grid("g", "demo", ("a", "b"), ratio=(0.0, 1.0), keep=(0.2, 1.0), seed=(3, 1))

    seeds = [cell.seed for cell in grid.cells()]

    assert seeds == [3] * 8 + [1] * 8
    assert [replace(cell, seed=3) for cell in grid.cells()[8:]] == grid.cells()[:8]


def test_every_cell_has_a_folder_of_its_own():
    modes = ("supplement", "replace")
    cells = Grid("g", "demo", ("a", "b"), modes, (0.0, 0.05, 0.5), (0.5, 1.0)).cells()

    assert len({cell.name for cell in cells}) == len(cells)


def test_a_cell_that_replaces_shares_the_kept_set_of_one_that_keeps():
    assert Cell("a", "replace", 0.8, 1.0, 0).real_part == 0.2


def test_a_cell_changes_its_axes_and_nothing_else():
    recipe = load_recipe("demo")

    changed = cell_recipe(recipe, Cell("resnet50", "supplement", 1.0, 0.2, 7))

    assert (changed.seed, changed.data.keep, changed.train_reid.backbone) == (7, 0.2, "resnet50")
    assert changed.train_reid == replace(recipe.train_reid, backbone="resnet50")
    assert changed.synthesize == recipe.synthesize


def test_values_are_read_as_the_type_of_their_axis(tmp_path):
    path = grid_file(tmp_path, 'recipe = "demo"\nbackbone = ["a"]\nratio = [0, 2]\nseed = [5]')

    grid = load_grid(path)

    assert grid == Grid("mine", "demo", ("a",), ratio=(0.0, 2.0), seed=(5,))
    assert [type(ratio) for ratio in grid.ratio] == [float, float]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ('ratio = ["half"]', "ratio must be a list of float"),
        ("ratio = 0.5", "ratio must be a list of float"),
        ("ratio = []", "ratio must be a list of float"),
        ("ratio = [true]", "ratio must be a list of float"),
        ("seed = [0.5]", "seed must be a list of int"),
        ("seed = [true]", "seed must be a list of int"),
        ('seed = ["0"]', "seed must be a list of int"),
        ("mode = [1]", "mode must be a list of str"),
        ('keep = "all"', "keep must be a list of float"),
    ],
)
def test_a_value_that_does_not_fit_its_axis_is_refused(tmp_path, line, rule):
    path = grid_file(tmp_path, f'recipe = "demo"\nbackbone = ["a"]\n{line}')

    with pytest.raises(UserError, match=rule) as caught:
        load_grid(path)

    assert path in str(caught.value)


@pytest.mark.parametrize(
    "line", ["recipe = 3", 'recipe = "demo"\nset = 3', 'recipe = "demo"\nname = 3']
)
def test_a_key_of_another_type_is_refused(tmp_path, line):
    path = grid_file(tmp_path, f'backbone = ["a"]\n{line}')

    with pytest.raises(UserError):
        grid_recipe(load_grid(path), {})


@pytest.mark.parametrize(
    ("grid", "rule"),
    [
        (Grid("g", "demo", ("a",), ratio=(math.nan,)), "ratio must be"),
        (Grid("g", "demo", ("a",), ratio=(-1.0,)), "ratio must be"),
        (Grid("g", "demo", ("a",), ("replace",), (1.0,)), "ratio must be below 1"),
        (Grid("g", "demo", ("a",), ("both",)), "mode must be one of"),
    ],
)
def test_an_invalid_cell_is_refused(grid, rule):
    with pytest.raises(UserError, match=rule):
        grid.cells()


def test_an_unknown_key_is_refused_with_the_nearest(tmp_path):
    path = grid_file(tmp_path, 'recipe = "demo"\nbackbone = ["a"]\nratios = [0.5]')

    with pytest.raises(UserError, match=r"unknown key 'ratios'; did you mean ratio\?") as caught:
        load_grid(path)

    assert path in str(caught.value)


@pytest.mark.parametrize("missing", ["recipe", "backbone"])
def test_a_grid_without_recipe_or_backbone_is_refused(tmp_path, missing):
    lines = {"recipe": 'recipe = "demo"', "backbone": 'backbone = ["a"]'}
    del lines[missing]

    with pytest.raises(UserError, match=f"must name .*{missing}"):
        load_grid(grid_file(tmp_path, "\n".join(lines.values())))


@pytest.mark.parametrize(
    "keys",
    [
        '"train_reid.steps" = 5\n"data.keep_seed" = 2',
        "train_reid.steps = 5\ndata.keep_seed = 2",
        "[set.train_reid]\nsteps = 5\n[set.data]\nkeep_seed = 2",
    ],
)
def test_the_keys_of_a_grid_lie_on_top_of_its_recipe(tmp_path, keys):
    path = grid_file(tmp_path, f'recipe = "demo"\nbackbone = ["a"]\n[set]\n{keys}')
    demo = load_recipe("demo")

    recipe = grid_recipe(load_grid(path), {})

    assert recipe.train_reid == replace(demo.train_reid, steps=5)
    assert recipe.data == replace(demo.data, keep_seed=2)


def test_options_lie_on_top_of_the_keys_of_a_grid(tmp_path):
    path = grid_file(tmp_path, 'recipe = "demo"\nbackbone = ["a"]\n[set]\n"train_reid.steps" = 5')

    assert grid_recipe(load_grid(path), {"train_reid.steps": 6}).train_reid.steps == 6


def test_an_unknown_key_on_top_of_the_recipe_is_refused(tmp_path):
    path = grid_file(tmp_path, 'recipe = "demo"\nbackbone = ["a"]\n[set]\n"train_reid.step" = 5')

    with pytest.raises(UserError, match=r"did you mean train_reid\.steps\?"):
        grid_recipe(load_grid(path), {})


@pytest.mark.parametrize("key", ["train_reid.backbone", "data.keep", "seed", "synthesize.ratio"])
def test_a_key_that_an_axis_sets_is_not_overridden_in_silence(key):
    with pytest.raises(UserError, match=f"{key}: the axis .* of grid demo sets it"):
        grid_recipe(load_grid("demo"), {key: 1})


def block_file(folder, text):
    return grid_file(folder, f'recipe = "demo"\nbackbone = ["a"]\nseed = [0]\n{text}')


def test_a_block_takes_what_it_does_not_name_from_above(tmp_path):
    path = block_file(
        tmp_path, 'keep = [0.2]\n[[also]]\nmethod = ["copies"]\n[[also]]\nkeep = [0.5]\nratio = [2]'
    )

    cells = load_grid(path).cells()

    base = Cell("a", "supplement", 0.0, 0.2, 0)
    assert cells == [
        base,
        replace(base, ratio=1.0),
        replace(base, ratio=1.0, method="copies"),
        replace(base, ratio=2.0, keep=0.5),
    ]


def test_blocks_leave_seeds_outermost():
    also = ({"keep": (0.5,), "seed": (1, 2)},)
    grid = Grid("g", "demo", ("a",), keep=(0.2,), seed=(0, 1), also=also)

    cells = grid.cells()

    assert [(cell.seed, cell.keep) for cell in cells if cell.ratio] == [
        (0, 0.2),
        (1, 0.2),
        (1, 0.5),
        (2, 0.5),
    ]


def test_an_axis_that_does_not_matter_makes_no_other_cell():
    axes = {
        "method": ("generator", "copies", "renderer"),
        "cameras": ("source", "target"),
        "generator": ("given", "kept"),
    }
    grid = Grid("g", "demo", ("a",), seed=(0,), **axes)

    cells = grid.cells()

    assert [(c.ratio, c.method, c.cameras, c.generator) for c in cells] == [
        (0.0, "generator", "source", "given"),
        (1.0, "generator", "source", "given"),
        (1.0, "generator", "source", "kept"),
        (1.0, "generator", "target", "given"),
        (1.0, "generator", "target", "kept"),
        (1.0, "copies", "source", "given"),
        (1.0, "renderer", "source", "given"),
        (1.0, "renderer", "target", "given"),
    ]


def test_poses_matter_to_methods_that_use_them_and_given_ones_have_no_camera():
    axes = {
        "method": ("generator", "copies", "renderer"),
        "cameras": ("source", "target"),
        "poses": ("random", "library"),
    }
    grid = Grid("g", "demo", ("a",), ratio=(1.0,), seed=(0,), **axes)

    assert [(c.method, c.cameras, c.poses) for c in grid.cells()] == [
        ("generator", "source", "random"),
        ("generator", "source", "library"),
        ("generator", "target", "random"),
        ("copies", "source", "random"),
        ("renderer", "source", "random"),
        ("renderer", "target", "random"),
    ]


def test_the_poses_of_a_cell_are_those_of_its_recipe_and_its_bank_has_a_mark():
    cell = Cell("a", "supplement", 1.0, 1.0, 0, poses="library")

    assert cell_recipe(load_recipe("demo"), cell).synthesize.poses == "library"
    assert cell.bank_marks == ("library",)


def test_a_generator_of_all_images_is_that_of_the_kept_set_where_all_are_kept():
    grid = Grid("g", "demo", ("a",), ratio=(1.0,), seed=(0,), generator=("kept", "whole"))

    assert [cell.generator for cell in grid.cells()] == ["kept"]
    assert [c.generator for c in replace(grid, keep=(0.5,)).cells()] == ["kept", "whole"]


def test_the_method_axes_do_not_matter_with_a_given_bank():
    axes = {"method": ("generator", "copies"), "generator": ("given", "kept"), "bank": ("b.h5",)}
    grid = Grid("g", "demo", ("a",), seed=(0,), **axes)

    assert [(c.ratio, c.bank, c.method) for c in grid.cells()] == [
        (0.0, "", "generator"),
        (1.0, "b.h5", "generator"),
    ]


def test_least_scores_are_the_same_however_they_are_written():
    texts = ("", "margin=0.0, sharpness=0.5", "sharpness=.5,margin=0")
    grid = Grid("g", "demo", ("a",), seed=(0,), min_score=texts)

    cells = grid.cells()

    assert [(c.ratio, c.min_score) for c in cells] == [
        (0.0, ""),
        (1.0, ""),
        (1.0, "margin=0,sharpness=0.5"),
    ]
    assert cells[2].least_scores == {"margin": 0.0, "sharpness": 0.5}


@pytest.mark.parametrize(
    ("axes", "rule"),
    [
        ({"min_score": ("margin>=0",)}, "^min_score must be NAME=VALUE, got 'margin>=0'"),
        ({"min_score": ("pose=0.5",)}, "min_score must be of identity, margin, .*got 'pose'"),
        ({"bank": ("a/b/c.h5", "b/c.h5")}, "2 cells would lie in one folder, a-.*-b-c; rename"),
    ],
)
def test_invalid_scores_and_files_are_refused(axes, rule):
    with pytest.raises(UserError, match=rule):
        Grid("g", "demo", ("a",), seed=(0,), **axes).cells()


def test_erasing_and_starting_weights_matter_at_ratio_0():
    grid = Grid("g", "demo", ("a",), ratio=(0.0,), seed=(0,), erase=(False, True))

    cells = replace(grid, start=("scratch", "external")).cells()

    assert len(cells) == len({cell.name for cell in cells}) == 4


@pytest.mark.parametrize(
    ("change", "suffix"),
    [
        ({}, ""),
        ({"method": "copies"}, "-copies"),
        ({"method": "renderer", "cameras": "target"}, "-renderer-cameras"),
        ({"cameras": "target", "generator": "kept"}, "-cameras-kept"),
        ({"poses": "coverage"}, "-coverage"),
        ({"poses": "library", "generator": "kept"}, "-library-kept"),
        ({"poses": "other/keypoints.csv"}, "-other-keypoints"),
        ({"erase": True, "start": "external"}, "-erase-external"),
        ({"generator": "whole"}, "-whole"),
        ({"generator": "kept", "replicate": 1}, "-kept-replicate"),
        ({"generator": "runs/mine/generator.safetensors"}, "-mine-generator"),
        ({"min_score": "margin=0.5", "bank": "../a b/bank.h5"}, "-margin0.5-a_b-bank"),
    ],
)
def test_a_variant_has_the_folder_of_the_plain_cell_with_a_suffix(change, suffix):
    cell = replace(Cell("resnet18", "supplement", 4.0, 0.2, 1), **change)

    assert cell.name == f"resnet18-supplement4-keep0.2-seed1{suffix}"


def test_a_replicate_varies_every_seed_and_its_files():
    recipe = load_recipe("demo", {"seed": 5, "data.keep_seed": 7})
    grid = Grid("g", "demo", ("a",), ratio=(2.0,), seed=(8, 9), replicate=(0, 3))

    cells = grid.cells()

    assert [(cell.seed, cell.replicate) for cell in cells] == [(0, 0), (3, 3)]
    recipes = [cell_recipe(recipe, cell) for cell in cells]
    assert [(one.seed, one.data.keep_seed) for one in recipes] == [(0, 7), (3, 10)]
    assert [shared_recipe(recipe, cell).seed for cell in cells] == [5, 8]
    assert [cell.bank_marks for cell in cells] == [(), ("replicate3",)]


def test_a_negative_replicate_is_refused():
    with pytest.raises(UserError, match="replicate must be at least 0, got -1"):
        Grid("g", "demo", ("a",), replicate=(-1,)).cells()


def test_a_cell_hands_its_values_to_the_recipe():
    cell = Cell("a", "supplement", 2.0, 0.5, 0, method="renderer", cameras="target", erase=True)

    recipe = cell_recipe(load_recipe("demo"), cell)

    assert (recipe.synthesize.method, recipe.synthesize.cameras) == ("renderer", "target")
    assert (recipe.synthesize.ratio, recipe.train_reid.erase) == (2.0, True)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[[also]]\nratios = [1]", r"also: unknown key 'ratios'; did you mean ratio\?"),
        ("[[also]]\nexternal = [1]", "also: unknown key 'external'"),
        ("[[also]]\nkeep = 0.5", "keep must be a list of float"),
        ("also = [3]", r"also must be tables, written \[\[also\]\]"),
        (
            'method = ["painter"]',
            "method must be among generator, copies, limb-warp, renderer, got 'painter'",
        ),
        ('cameras = ["both"]', "cameras must be among source, target"),
        (
            'generator = ["external"]',
            "generator must be among given, kept, whole or an existing file",
        ),
        ('bank = ["gone.h5"]', 'bank must be among "" or an existing file, got .gone.h5.'),
        ('start = ["imagenet"]', "start must be among scratch, external"),
        ("erase = [1]", "erase must be a list of bool"),
        ('start = ["external"]', "need each other"),
        ('[[also]]\nstart = ["external"]', "need each other"),
        ("[external]\nfirst = 5", "need each other"),
        ('start = ["external"]\nexternal = 3', "external must be a table"),
        ('start = ["external"]\n[external]\nlast = 3', "external: unknown key 'last'"),
    ],
)
def test_an_invalid_block_or_axis_is_refused(tmp_path, text, rule):
    path = block_file(tmp_path, text)

    with pytest.raises(UserError, match=rule) as caught:
        load_grid(path)

    assert path in str(caught.value)


def test_external_people_are_read(tmp_path):
    text = 'start = ["scratch", "external"]\n[external]\nidentities = 7\nfirst = 500'

    grid = load_grid(block_file(tmp_path, text))

    assert grid.external == PeopleConfig(identities=7, first=500)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("[train_reid]\nerase = true", "train_reid.erase"),
        ('[synthesize]\nmethod = "copies"', "synthesize.method"),
        ('[synthesize]\ncameras = "target"', "synthesize.cameras"),
    ],
)
def test_a_recipe_is_not_overridden_by_an_axis_that_the_grid_does_not_name(tmp_path, line, key):
    recipe = tmp_path / "own.toml"
    recipe.write_text(line)
    grid = Grid("g", str(recipe), ("a",))

    with pytest.raises(UserError, match=f"{key} .*no cell of grid g has; list it on the axis"):
        grid_recipe(grid, {})

    name = key.rpartition(".")[2]
    wanted = getattr(load_recipe(str(recipe)), key.partition(".")[0])
    assert grid_recipe(replace(grid, **{name: (getattr(wanted, name),)}), {})


def test_the_low_data_study_has_what_it_compares():
    grid = load_grid("lowdata")
    cells = [cell for cell in grid.cells() if cell.seed == 0]

    assert {cell.real_part for cell in cells} == {0.2, 0.5, 1.0}
    for keep in (0.2, 0.5):
        own = [cell for cell in cells if cell.keep == keep]
        assert {(c.method, c.cameras) for c in own if c.ratio == 4} == {
            ("generator", "source"),
            ("generator", "target"),
            ("copies", "source"),
            ("renderer", "source"),
            ("renderer", "target"),
        }
        assert {(c.erase, c.start) for c in own if not c.ratio} == {
            (False, "scratch"),
            (True, "scratch"),
            (False, "external"),
        }
    assert {(c.mode, c.ratio) for c in cells if c.keep == 1} == {
        ("supplement", 0.0),
        ("supplement", 1.0),
        ("supplement", 4.0),
        ("replace", 0.5),
        ("replace", 0.8),
    }
    assert [(c.keep, c.ratio) for c in cells if c.generator == "kept"] == [(0.5, 4.0)]


def test_the_external_people_of_the_low_data_study_are_not_those_of_the_demo():
    grid = load_grid("lowdata")
    recipe = grid_recipe(grid, {})

    assert not set(grid.external.pids) & set(recipe.people.pids)
    assert grid.external.seed == recipe.people.seed


def test_the_preset_axis_applies_the_named_set_over_the_recipe():
    grid = Grid("g", "demo", ("a",), ratio=(0.0,), seed=(0,), preset=("plain", "strong"))
    recipe = grid_recipe(grid, {})

    plain, strong = (cell_recipe(recipe, cell).train_reid for cell in grid.cells())

    assert plain == replace(recipe.train_reid, backbone="a")
    assert (
        strong
        == load_recipe("demo", {"train_reid": {"preset": "strong", "backbone": "a"}}).train_reid
    )
    assert (strong.erase, strong.bnneck, strong.schedule) == (True, True, "cosine")
    assert [cell.name for cell in grid.cells()] == [
        "a-baseline-keep1-seed0", "a-baseline-keep1-seed0-strong",
    ]  # fmt: skip


def test_random_erasing_is_part_of_strong_training():
    grid = Grid(
        "g", "demo", ("a",), ratio=(0.0,), seed=(0,), preset=("strong",), erase=(False, True)
    )

    assert len(grid.cells()) == 1


def test_the_label_axis_is_for_cells_with_generated_images():
    grid = Grid("g", "demo", ("a",), ratio=(0.0, 1.0), seed=(0,), label=("hard", "uniform"))

    cells = grid.cells()

    assert [(cell.ratio, cell.label) for cell in cells] == [
        (0.0, "hard"), (1.0, "hard"), (1.0, "uniform"),
    ]  # fmt: skip
    assert cells[-1].name.endswith("-uniform")
    recipe = cell_recipe(grid_recipe(grid, {}), cells[-1])
    assert recipe.train_reid.generated_label == "uniform"


@pytest.mark.parametrize("key", ["warmup", "erase", "triplet_weight"])
def test_a_key_that_a_preset_of_the_grid_sets_is_not_set_by_hand(key):
    grid = Grid("g", "demo", ("a",), preset=("plain", "strong"))

    with pytest.raises(UserError, match=rf"train_reid\.{key}: the (preset strong|axis erase)"):
        grid_recipe(grid, {f"train_reid.{key}": 0.1})


def test_a_recipe_with_a_preset_needs_it_on_the_axis(tmp_path):
    (tmp_path / "mine.toml").write_text('[train_reid]\npreset = "strong"')
    grid = Grid("g", str(tmp_path / "mine.toml"), ("a",))

    with pytest.raises(UserError, match=r"train_reid\.preset to 'strong'"):
        grid_recipe(grid, {})

    assert grid_recipe(replace(grid, preset=("strong",)), {}).train_reid.erase
