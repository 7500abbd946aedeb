"""A grid with all axes: the work that cells share is done once, before the cells."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from reid_aug.bank import Bank
from reid_aug.data.dataset import kept, read_market1501
from reid_aug.data.provenance import fingerprints
from reid_aug.generator import Generator, GeneratorConfig, load_with_metadata, save_generator
from reid_aug.people import PeopleConfig
from reid_aug.runtime import bfloat16
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.stages.recipe import RunFolder
from reid_aug.stages.stage import Stage, choose_device
from reid_aug.study import benchmark, shared_work
from reid_aug.study.benchmark import plan_tasks, run
from reid_aug.study.cost import describe, describe_cells, describe_cost
from reid_aug.study.grid import Grid, grid_recipe
from reid_aug.study.local_pool import LocalPool
from reid_aug.study.tasks import Task, train_cell

RECIPE = """
[data]
height = 32
width = 16
[generator]
width = 4
blocks = 1
[train_generator]
steps = 2
batch = 2
discriminator_width = 4
[synthesize]
batch = 8
[train_reid]
steps = 2
batch = 4
height = 32
width = 16
"""
ALSO = (
    {"ratio": (0.5,)},
    {"method": ("copies",), "ratio": (1.0,)},
    {"method": ("renderer",), "ratio": (1.0,)},
    {"generator": ("kept",), "ratio": (1.0,)},
    {"start": ("external",), "ratio": (0.0,)},
    {"erase": (True,), "ratio": (0.0,)},
)
POOL = LocalPool(["cpu"], 1)
OTHERS = PeopleConfig(identities=2, test_identities=2, first=70)


@pytest.fixture
def stage(people, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "small.toml").write_text(RECIPE)
    generator = Generator(GeneratorConfig(width=4, blocks=1))
    save_generator(generator, tmp_path / "g.safetensors", {"trained_on": "0" * 12})
    recipe = grid_recipe(grid_of(tmp_path), {})
    points, run = people / "keypoints.csv", RunFolder(tmp_path / "run")
    return Stage(recipe, people, False, points, run, choose_device("cpu"))


@pytest.fixture
def trained(monkeypatch):
    """The folders of the trainings, in their order; they run in this process."""
    folders: list[Path] = []

    def run_here(tasks, pool):
        for task in tasks:
            folders.append(task.folder)
            task.folder.mkdir(parents=True, exist_ok=True)
            train_cell(task, "cpu")
        return []

    for module in (benchmark, shared_work):
        monkeypatch.setattr(module, "run_tasks", run_here)
    monkeypatch.setattr("reid_aug.bank.contact_sheet.SHEET_ROWS", 2)
    return folders


def grid_of(folder: Path, also=ALSO, external: PeopleConfig | None = OTHERS) -> Grid:
    recipe = str(folder / "small.toml")
    axes = {"keep": (0.5,), "seed": (0,), "also": also, "external": external}
    return Grid("g", recipe, ("osnet_x0_25",), **axes)


def result_of(task: Task) -> dict:
    return json.loads((task.folder / "result.json").read_text())


def tasks_of(grid: Grid, stage: Stage, folder: Path) -> list[Task]:
    return plan_tasks(grid, stage, str(folder / "g.safetensors"))


def test_a_whole_study(people, tmp_path, stage, trained):
    grid = grid_of(tmp_path)
    tasks = tasks_of(grid, stage, tmp_path)
    folder = stage.run.path

    assert run(grid, tasks, stage, POOL) == []

    assert trained == [folder / "external/osnet_x0_25-seed0", *(task.folder for task in tasks)]
    results = {task.folder.name: result_of(task) for task in tasks}
    keys = ("method", "cameras", "generator_data", "starting_data", "leak_free")
    name, end = "osnet_x0_25", "keep0.5-seed0"
    assert {own: tuple(result[key] for key in keys) for own, result in results.items()} == {
        f"{name}-baseline-{end}": (None, None, None, None, True),
        f"{name}-supplement1-{end}": ("generator", "source", "external", None, True),
        f"{name}-supplement0.5-{end}": ("generator", "source", "external", None, True),
        f"{name}-supplement1-{end}-copies": ("copies", "source", "kept", None, True),
        f"{name}-supplement1-{end}-renderer": ("renderer", "source", "whole", None, False),
        f"{name}-supplement1-{end}-kept": ("generator", "source", "kept", None, True),
        f"{name}-baseline-{end}-external": (None, None, None, "external", True),
        f"{name}-baseline-{end}-erase": (None, None, None, None, True),
    }
    assert results[f"{name}-baseline-{end}-erase"]["recipe"]["erase"] is True
    first = trained[0] / "model.safetensors"
    assert results[f"{name}-baseline-{end}-external"]["starting_weights"] == sha256(first)
    banks = {path.parent.name for path in folder.rglob("bank.h5")}
    assert banks == {"keep-0.5", "keep-0.5-copies", "keep-0.5-renderer", "keep-0.5-kept"}
    real = kept(read_market1501(people).train, 0.5)
    assert len(Bank(folder / "keep-0.5/bank.h5")) == len(real)
    metadata = load_with_metadata(folder / "keep-0.5-kept/generator.safetensors")[1]
    assert metadata["trained_on"] == fingerprints(real)

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.is_file()}
    trained.clear()
    assert run(grid, tasks, stage, POOL) == []
    assert trained == []
    rendered = {path for path in before if path.name == "contact_sheet.png"}
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.is_file()}
    assert {path for path in after if after[path] != before.get(path)} <= rendered


def test_a_cell_whose_starting_weights_failed_is_run_and_reports_it(tmp_path, stage, monkeypatch):
    started = []

    def fail(tasks, pool):
        started.append([task.folder.name for task in tasks])
        return list(tasks)

    for module in (benchmark, shared_work):
        monkeypatch.setattr(module, "run_tasks", fail)
    grid = grid_of(tmp_path, ({"start": ("external",), "ratio": (0.0,)},))
    tasks = [task for task in tasks_of(grid, stage, tmp_path) if task.weights]

    failed = run(grid, tasks, stage, POOL)

    name = "osnet_x0_25-baseline-keep0.5-seed0-external"
    assert started == [["osnet_x0_25-seed0"], [name]]
    assert [task.folder.name for task in failed] == ["osnet_x0_25-seed0", name]


def test_a_grid_without_generated_images_of_a_given_generator_needs_none(tmp_path, stage):
    grid = Grid("g", str(tmp_path / "small.toml"), ("osnet_x0_25",), seed=(0,), method=("copies",))

    tasks = plan_tasks(grid, stage, None)

    assert [task.generator for task in tasks] == [None, None]
    with pytest.raises(UserError, match=r"generator\.safetensors is missing"):
        plan_tasks(Grid("g", grid.recipe, grid.backbone), stage, None)


def test_the_plain_bank_of_the_recipe_s_kept_set_lies_in_the_run_folder(tmp_path, stage):
    also = ({"method": ("copies",)}, {"generator": ("kept",)}, {"keep": (0.5,)})
    grid = Grid("g", str(tmp_path / "small.toml"), ("osnet_x0_25",), seed=(0,), also=also)

    tasks = tasks_of(grid, stage, tmp_path)

    places = [t.bank.parent.relative_to(stage.run.path).as_posix() for t in tasks if t.bank]
    assert places == [".", "keep-1-copies", "keep-1-kept", "keep-0.5"]
    own = [task.generator for task in tasks if task.cell.generator == "kept"]
    assert own == [stage.run.path / "keep-1-kept/generator.safetensors"]


def test_the_plan_names_the_shared_work(tmp_path, stage):
    grid = grid_of(tmp_path)
    tasks = tasks_of(grid, stage, tmp_path)

    lines = describe(grid, tasks, stage, POOL)
    cost = describe_cost(grid, tasks, stage, POOL)

    assert lines[0].startswith("8 trainings of 2 steps of 4 images, 1 at once")
    assert lines[1] == "no train_reid.weights: the network starts from random weights"
    assert "networks to train on the external people: 1" in lines[2]
    assert "generators to train for 2 steps on their own images: 1" in lines[3]
    assert describe_cells(tasks)[0] == "    osnet_x0_25-baseline-keep0.5: seed 0"
    assert len(describe_cells(tasks)) == 8
    heads = [line.partition(":")[0] for line in cost]
    assert heads[:4] == [
        "1 generators",
        "1 banks of copies",
        "2 banks of generator",
        "1 banks of renderer",
    ]
    assert heads[4] == "9 trainings of osnet_x0_25, plain"
    assert cost[-1].startswith("together about ")
    assert not stage.run.path.exists()


def test_the_plan_says_that_bfloat16_may_be_slow(tmp_path, stage, monkeypatch):
    monkeypatch.setattr(bfloat16, "processor", lambda: {"features": ["avx2"]})
    halves = {"train_generator.bf16": True, "train_reid.bf16": True}
    grid = grid_of(tmp_path)

    def notes(also: Grid, options: dict) -> list[str]:
        tasks = tasks_of(also, stage, tmp_path)
        lines = describe(also, tasks, stage.with_options(options), POOL)
        return [line.partition("=")[0] for line in lines if "without AMX" in line]

    assert notes(grid, halves) == ["train_generator.bf16", "train_reid.bf16"]
    assert notes(grid_of(tmp_path, ()), halves) == ["train_reid.bf16"]  # it trains no generator
    assert notes(grid, {}) == []


def test_a_cell_that_is_done_costs_nothing_more(tmp_path, stage):
    grid = grid_of(tmp_path, ())
    tasks = tasks_of(grid, stage, tmp_path)
    (tasks[0].folder).mkdir(parents=True)
    (tasks[0].folder / "result.json").touch()

    assert f"done already: 1 of {len(tasks)} trainings" in describe(grid, tasks, stage, POOL)
    assert any(
        line.startswith("1 trainings of ") for line in describe_cost(grid, tasks, stage, POOL)
    )


def scored(folder: Path, **axes) -> Grid:
    given = {"keep": (0.5,), "seed": (1,), "method": ("copies",), "ratio": (1.0,), **axes}
    return Grid("g", str(folder / "small.toml"), ("osnet_x0_25",), **given)


def test_a_bank_is_scored_once_by_the_plain_training_on_its_kept_set(tmp_path, stage, trained):
    filters = ("", "margin=-2,novelty=0", "margin=-2", "sharpness=0.5")
    grid = scored(tmp_path, min_score=filters)
    tasks = tasks_of(grid, stage, tmp_path)

    assert run(grid, tasks, stage, POOL) == []

    scorer = stage.run.cell("osnet_x0_25-baseline-keep0.5-seed0")
    assert trained[0] == scorer
    names = [task.folder.name.partition("seed1")[2] for task in tasks]
    assert names == [
        "-copies",
        "-margin-2-novelty0-copies",
        "-margin-2-copies",
        "-sharpness0.5-copies",
    ]
    result = result_of(tasks[2])
    digest = sha256(scorer / "model.safetensors")
    assert result["min_score"] == {
        "margin": {"least": -2.0, "data": "kept", "scorer_sha256": digest}
    }
    assert result["leak_free"]

    bank = stage.run.below(0.5, "copies").bank
    before = bank.stat().st_mtime_ns
    trained.clear()
    assert run(grid, tasks, stage, POOL) == []
    assert trained == []
    assert bank.stat().st_mtime_ns == before


def test_the_scorer_is_a_cell_of_the_grid_where_the_grid_has_it(tmp_path, stage, trained):
    grid = scored(tmp_path, min_score=("", "margin=-2"), ratio=(0.0, 1.0), seed=(0,))
    tasks = tasks_of(grid, stage, tmp_path)

    assert run(grid, tasks, stage, POOL) == []

    assert trained == [task.folder for task in tasks]
    assert not any("score banks" in line for line in describe(grid, tasks, stage, POOL))


def test_pixels_are_scored_without_a_network(tmp_path, stage, trained):
    grid = scored(tmp_path, min_score=("sharpness=0.1",))
    tasks = tasks_of(grid, stage, tmp_path)

    assert run(grid, tasks, stage, POOL) == []

    assert trained == [tasks[0].folder]


def test_protocol_paper_is_reported_as_a_leak(tmp_path, stage, trained):
    grid = scored(tmp_path, method=("generator",), generator=("kept", "whole"), seed=(0,))
    tasks = tasks_of(grid, stage, tmp_path)

    assert run(grid, tasks, stage, POOL) == []

    found = [(result_of(task)["generator_data"], result_of(task)["leak_free"]) for task in tasks]
    assert found == [("kept", True), ("whole", False)]
    whole = load_with_metadata(stage.run.path / "keep-1-kept/generator.safetensors")[1]
    assert whole["trained_on"] == fingerprints(stage.dataset.train)
    assert {path.parent.name for path in stage.run.path.rglob("bank.h5")} == {
        "keep-0.5-kept",
        "keep-0.5-whole",
    }


def test_a_replicate_has_a_kept_set_a_generator_and_a_bank_of_its_own(tmp_path, stage, trained):
    axes = {"ratio": (0.0, 1.0), "generator": ("kept",), "replicate": (0, 1)}
    grid = replace(grid_of(tmp_path, (), None), **axes)
    tasks = tasks_of(grid, stage, tmp_path)

    assert run(grid, tasks, stage, POOL) == []

    results = [result_of(task) for task in tasks]
    assert [(r["replicate"], r["seed"], r["keep_seed"], r["ratio"]) for r in results] == [
        (0, 0, 0, 0.0), (0, 0, 0, 1.0), (1, 1, 1, 0.0), (1, 1, 1, 1.0),
    ]  # fmt: skip
    assert [r["leak_free"] for r in results] == [True] * 4
    assert results[0]["kept_sha256"] == results[1]["kept_sha256"] != results[2]["kept_sha256"]
    assert results[2]["kept_sha256"] == results[3]["kept_sha256"]
    assert results[1]["generator_sha256"] != results[3]["generator_sha256"]
    banks = [Bank(task.bank).attributes for task in tasks[1::2]]
    assert [(one.seed, one.keep_seed) for one in banks] == [(0, 0), (1, 1)]
    assert {path.parent.name for path in stage.run.path.rglob("generator.safetensors")} == {
        "keep-0.5-kept",
        "keep-0.5-kept-replicate1",
    }


def test_a_given_generator_and_bank_are_cells_of_a_grid(tmp_path, stage, trained):
    own = scored(tmp_path, method=("generator",), generator=(str(tmp_path / "g.safetensors"),))
    tasks = tasks_of(own, stage, tmp_path)
    assert run(own, tasks, stage, POOL) == []
    mark = f"{tmp_path.name}-g"
    bank = stage.run.path / f"keep-0.5-{mark}" / "bank.h5"
    assert tasks[0].bank == bank
    assert result_of(tasks[0])["generator_data"] == "external"

    theirs = scored(tmp_path, bank=(str(bank),))
    again = tasks_of(theirs, stage, tmp_path)
    before = bank.stat().st_mtime_ns
    assert run(theirs, again, stage, POOL) == []
    assert result_of(again[0])["mAP"] == result_of(tasks[0])["mAP"]
    assert bank.stat().st_mtime_ns == before

    with pytest.raises(UserError, match="bank of another kept set"):
        tasks_of(scored(tmp_path, bank=(str(bank),), keep=(1.0,)), stage, tmp_path)
    changed = shutil.copytree(stage.root, tmp_path / "changed")
    first = read_market1501(changed).query[0].path
    first.write_bytes(first.read_bytes() + b"\0")
    with pytest.raises(UserError, match="must be a bank of this data set"):
        tasks_of(theirs, replace(stage, root=changed), tmp_path)
    with pytest.raises(UserError, match="must hold the score margin"):
        tasks_of(scored(tmp_path, bank=(str(bank),), min_score=("margin=0",)), stage, tmp_path)


def test_a_file_without_a_generator_is_refused_before_any_work(tmp_path, stage):
    (tmp_path / "no.safetensors").write_bytes(b"no")
    grid = scored(tmp_path, method=("generator",), generator=(str(tmp_path / "no.safetensors"),))

    with pytest.raises(UserError, match=r"no\.safetensors"):
        tasks_of(grid, stage, tmp_path)
