import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reid_aug.benchmark import Cell, Grid, Task, cell_recipe, grid_recipe, load_grid, run_tasks
from reid_aug.errors import UserError
from reid_aug.recipe import Recipe, load_recipe, shipped
from reid_aug.train_reid import TrainReidConfig

SHIPPED = sorted(path.stem for path in (Path(__file__).parents[1] / "benchmarks").glob("*.toml"))
SMALL = TrainReidConfig(backbone="osnet_x0_25", steps=1, batch=4, height=64, width=32)
PATIENCE = 60.0  # seconds

ENDLESS = """
import sys
from pathlib import Path
from reid_aug.benchmark import Cell, Task, run_tasks
from reid_aug.recipe import Recipe
from reid_aug.train_reid import TrainReidConfig

if __name__ == "__main__":
    data, folder = map(Path, sys.argv[1:])
    config = TrainReidConfig("osnet_x0_25", steps=10**6, batch=4, height=64, width=32)
    cell = Cell("osnet_x0_25", "supplement", 0.0, 1.0, 0)
    recipe = Recipe("endless", train_reid=config)
    run_tasks([Task(cell, recipe, data, None, folder, folder, "cpu", 1)], 1)
"""


def grid_file(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def task(data: Path, folder: Path, ratio: float = 0.0, bank: Path | None = None) -> Task:
    cell = Cell("osnet_x0_25", "supplement", ratio, 1.0, 0)
    recipe = Recipe("small", train_reid=SMALL)
    return Task(cell, recipe, data, bank, folder, folder / "generator", "cpu", 1)


def processes() -> dict[int, tuple[str, int, int]]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        found[int(path.parent.name)] = state, int(parent), int(session)
    return found


def members(session: int) -> set[int]:
    return {pid for pid, (state, _, own) in processes().items() if own == session and state != "Z"}


def cells_started_by(parent: int) -> set[int]:
    found = set()
    for pid, (_, own, _) in processes().items():
        try:
            if own == parent and b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(pid)
        except OSError:
            continue
    return found


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(condition())


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
def test_a_value_that_is_none_of_its_axis_is_refused(tmp_path, line, rule):
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
def test_a_cell_that_cannot_be_is_refused(grid, rule):
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


def test_a_cell_that_dies_is_tried_twice_and_reported_and_the_others_go_on(people, tmp_path):
    dies = task(people, tmp_path / "dies")
    (tmp_path / "dies" / "images.txt").mkdir(parents=True)
    lives = task(people, tmp_path / "lives")
    seen: set[int] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            seen.update(cells_started_by(os.getpid()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        failed = run_tasks([dies, lives], 1)
    finally:
        done.set()
        watcher.join()

    assert failed == [dies]
    assert len(seen) == 3
    assert not (tmp_path / "dies" / "result.json").exists()
    assert json.loads((tmp_path / "lives" / "result.json").read_text())["steps"] == 1


def test_a_cell_that_cannot_work_is_not_tried_again_and_says_why(people, tmp_path):
    hopeless = task(people, tmp_path / "cell", 1.0, tmp_path / "gone.h5")

    assert run_tasks([hopeless], 1) == [hopeless]

    said = (tmp_path / "cell" / "output.txt").read_text()
    assert said.count("gone.h5 is missing") == 1


def test_cells_die_with_a_benchmark_that_is_killed(people, tmp_path):
    script, output = tmp_path / "endless.py", tmp_path / "cell" / "output.txt"
    script.write_text(ENDLESS)
    with subprocess.Popen(
        [sys.executable, script, people, tmp_path / "cell"],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    ) as benchmark:
        started = wait_until(output.exists)
        cells = cells_started_by(benchmark.pid)
        benchmark.send_signal(signal.SIGKILL)

    died = wait_until(lambda: not members(benchmark.pid), 20)
    for pid in members(benchmark.pid):
        os.kill(pid, signal.SIGKILL)
    assert started
    assert len(cells) == 1
    assert died


@pytest.mark.parametrize("key", ["train_reid.backbone", "data.keep", "seed", "synthesize.ratio"])
def test_a_key_that_an_axis_sets_is_not_overridden_in_silence(key):
    with pytest.raises(UserError, match=f"{key}: the axis .* of grid demo sets it"):
        grid_recipe(load_grid("demo"), {key: 1})
