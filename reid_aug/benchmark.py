"""Run a grid of experiments: the work that cells share, then every cell, then the table.

Shared work is done once: one bank a kind and kept set, at the largest number of images that a cell
asks for; one generator a kept set, for cells that draw with their own; one network a backbone and
seed, for cells that start from external people. All of it goes on where it was stopped, and a cell
is skipped when its result is there already.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from reid_aug import train_generator as generators
from reid_aug.backbones import build_backbone
from reid_aug.bank import Bank
from reid_aug.contact_sheet import write_contact_sheet
from reid_aug.dataset import PersonImage, kept, read_market1501, verify_images
from reid_aug.grid import Cell, Grid, cell_recipe
from reid_aug.local_pool import CORES, LocalPool
from reid_aug.mixing import Mix, share_out
from reid_aug.pairs import Pairs
from reid_aug.ray_pool import RayPool
from reid_aug.recipe import RunFolder
from reid_aug.reid_folder import MODEL
from reid_aug.stage import Stage, people_folder
from reid_aug.synthesize import prepare, synthesize
from reid_aug.tasks import Pool, Task, run_tasks
from reid_aug.train_reid import seconds_per_step


def plan_tasks(grid: Grid, stage: Stage, generator: str | None) -> list[Task]:
    """One task a cell, and where each will find what it shares with others.

    Args:
        generator: the generator that was named, if one was.
    """
    recipe, cells = stage.recipe, grid.cells()
    for cell in cells:
        cell_recipe(recipe, cell)  # raises if an axis holds a value that cannot be
    for backbone in sorted({cell.backbone for cell in cells}):
        build_backbone(backbone, 2, recipe.train_reid.height, recipe.train_reid.width)
    needs_one = any(_is_drawn(cell) and cell.generator == "given" for cell in cells)
    given = stage.generator(generator) if needs_one else None
    return [
        Task(
            cell,
            recipe,
            stage.root,
            _bank_of(cell, stage) if cell.ratio else None,
            stage.run.cell(cell.name),
            _generator_of(cell, stage, given),
            _weights_of(cell, stage) if cell.start == "external" else None,
        )
        for cell in cells
    ]


def open_pool(device: torch.device, at_once: int | None) -> Pool:
    """Processes of this machine: one a device, or on CPUs one a core."""
    devices = _devices(device)
    return LocalPool(devices, at_once or (len(devices) if device.type == "cuda" else CORES))


def open_cluster(address: str, device: str | None, at_once: int | None) -> Pool:
    """The Ray cluster at an address."""
    return RayPool(address, device, at_once)


def _devices(device: torch.device) -> list[str]:
    """The device itself, or every GPU where none of them was named."""
    if device.type != "cuda" or device.index is not None:
        return [str(device)]
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def _is_drawn(cell: Cell) -> bool:
    return cell.ratio > 0 and cell.artist == "generator"


def _bank_of(cell: Cell, stage: Stage) -> Path:
    """The plain bank of the recipe's own kept set lies in the run folder, others lie below it."""
    own = cell.real_part == stage.recipe.data.keep and not cell.bank_marks
    return (stage.run if own else stage.run.below(cell.real_part, *cell.bank_marks)).bank


def _generator_of(cell: Cell, stage: Stage, given: Path | None) -> Path | None:
    """The generator of the cell's kept set lies in a folder below; nothing where none draws."""
    if not _is_drawn(cell):
        return None
    own = stage.run.below(cell.real_part, "kept").generator
    return own if cell.generator == "kept" else given


def _weights_of(cell: Cell, stage: Stage) -> Path:
    return stage.run.external(f"{cell.backbone}-seed{cell.seed}") / MODEL


def run(grid: Grid, tasks: Sequence[Task], stage: Stage, pool: Pool) -> list[Task]:
    """Do the shared work, then run every task without a result yet; those that failed for good."""
    dataset = stage.dataset
    pool.check(stage.root, stage.run.path)
    verify_images((*dataset.train, *dataset.query, *dataset.gallery))
    train_generators(tasks, stage)
    make_banks(tasks, stage)
    for line in describe(tasks, stage, pool):
        print(line, file=sys.stderr)
    failed = pre_train(grid, tasks, stage, pool)
    waiting = [task for task in tasks if not task.is_done(dataset)]
    return failed + (run_tasks(waiting, pool) if waiting else [])


def train_generators(tasks: Sequence[Task], stage: Stage) -> None:
    """One generator for each kept set whose cells draw with their own."""
    network, config = stage.recipe.generator, stage.recipe.train_generator
    for path, task in sorted(_own_generators(tasks).items()):
        real, pairs = _pairs(task, stage)
        notes = generators.training_notes(pairs, network, config, real, stage.poses)
        generators.train_generator(pairs, network, config, path.parent, notes, stage.device)


def _own_generators(tasks: Sequence[Task]) -> dict[Path, Task]:
    return {
        task.generator: task for task in tasks if task.generator and task.cell.generator == "kept"
    }


def _pairs(task: Task, stage: Stage) -> tuple[tuple[PersonImage, ...], Pairs]:
    """The kept set of a task, and the training pairs in it."""
    recipe, part = stage.recipe, task.cell.real_part
    data = replace(recipe.data, keep=part)
    real = kept(stage.dataset.train, part, data.keep_seed)
    pairs = generators.pairs_of(real, stage.poses, data, recipe.train_generator, recipe.seed)
    return real, pairs


def make_banks(tasks: Sequence[Task], stage: Stage) -> None:
    """Each bank at the largest size that a cell asks for, with its contact sheet."""
    for bank, (_, task) in sorted(_largest(tasks, stage).items()):
        recipe = cell_recipe(stage.recipe, task.cell)
        seed = stage.recipe.seed  # one bank serves the trainings of all seeds
        job = prepare(
            stage.dataset, stage.poses, task.generator, recipe.synthesize, recipe.data, seed
        )
        made = synthesize(job, bank.parent, stage.device)
        sheet = RunFolder(bank.parent).contact_sheet
        write_contact_sheet(Bank(made), job.real, stage.root, sheet)
        print(f"look at {sheet}", file=sys.stderr)


def _largest(tasks: Sequence[Task], stage: Stage) -> dict[Path, tuple[int, Task]]:
    """For each bank the largest number of images that a cell asks for, and that cell."""
    largest: dict[Path, tuple[int, Task]] = {}
    for task in tasks:
        if task.bank:
            cell, keep_seed = task.cell, stage.recipe.data.keep_seed
            _, count = share_out(stage.dataset.train, cell.ratio, cell.mode, cell.keep, keep_seed)
            largest[task.bank] = max(largest.get(task.bank, (0, task)), (count, task), key=_count)
    return largest


def _count(pair: tuple[int, Task]) -> int:
    return pair[0]


def pre_train(grid: Grid, tasks: Sequence[Task], stage: Stage, pool: Pool) -> list[Task]:
    """Train the networks that cells start from on the external people; those that failed."""
    if grid.external is None:
        return []
    root = people_folder(grid.external)
    dataset = read_market1501(root)
    first = [_pre_training(task, root) for task in _starts(tasks).values()]
    waiting = [task for task in first if not task.is_done(dataset)]
    return run_tasks(waiting, pool) if waiting else []


def _starts(tasks: Sequence[Task]) -> dict[Path, Task]:
    return {task.weights: task for task in tasks if task.weights}


def _pre_training(task: Task, root: Path) -> Task:
    """The training on the people in ``root`` that a task's starting weights come from."""
    assert task.weights is not None
    cell = Cell(task.cell.backbone, "supplement", 0.0, 1.0, task.cell.seed)
    folder = task.weights.parent
    return replace(
        task, cell=cell, root=root, bank=None, folder=folder, generator=None, weights=None
    )


def describe(tasks: Sequence[Task], stage: Stage, pool: Pool) -> list[str]:
    """What will be trained, in a few lines."""
    config = stage.recipe.train_reid
    size = f"{config.height}x{config.width}"
    lines = [
        f"{len(tasks)} trainings of {config.steps} steps of {config.batch} images, "
        f"{pool.at_once} at once, results in {stage.run.path / 'reid'}"
    ]
    if starts := _starts(tasks):
        lines.append(f"before them, networks trained on the external people: {len(starts)}")
    if own := _own_generators(tasks):
        steps = stage.recipe.train_generator.steps
        lines.append(f"before them, generators of {steps} steps on their own kept set: {len(own)}")
    if size != "256x128":
        lines.append(
            f"input {size} instead of the usual 256x128, to take minutes and not hours: "
            f"scores compare within this table only"
        )
    return lines


def describe_cost(tasks: Sequence[Task], stage: Stage) -> str:
    """Images to draw, and the time that trainings take, measured on a step of each kind."""
    config, mix = stage.recipe.train_reid, Mix(stage.dataset.train)
    everything = [*tasks, *_starts(tasks).values()]
    seconds = _generator_seconds(tasks, stage)
    for backbone in sorted({task.cell.backbone for task in tasks}):
        step = seconds_per_step(mix, replace(config, backbone=backbone), stage.device)
        seconds += step * config.steps * sum(t.cell.backbone == backbone for t in everything)
    drawn = sum(count for count, _ in _largest(tasks, stage).values())
    size = drawn * stage.recipe.data.height * stage.recipe.data.width * 3 / 1e6
    work = f"about {seconds / 60:.0f} min of work"
    return f"would draw {drawn} images ({size:.0f} MB), then train: {work}"


def _generator_seconds(tasks: Sequence[Task], stage: Stage) -> float:
    network, config = stage.recipe.generator, stage.recipe.train_generator
    own = list(_own_generators(tasks).values())
    if not own:
        return 0.0
    pairs = _pairs(own[0], stage)[1]
    step = generators.seconds_per_step(pairs, network, config, stage.device)
    return step * config.steps * len(own)
