"""A grid of experiments: every cell through the verbs, in local processes, then the table.

A grid is a TOML file: the recipe, and a list of values for each axis (backbone, mode, ratio, keep,
seed); ``[set]`` may hold keys on top of the recipe. Shared work is done once: one bank a kept set,
at the largest number of images that a cell asks for. Cells are independent: each is a process of
its own, writes its own folder, is skipped when its result is there already, and is tried once more
when it dies.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch

from reid_aug.backbones import build_backbone
from reid_aug.bank import Bank
from reid_aug.contact_sheet import write_contact_sheet
from reid_aug.dataset import Dataset, read_market1501, verify_images
from reid_aug.errors import UserError
from reid_aug.mixing import Mix, check_ratio, effective_keep, share_out
from reid_aug.progress import track
from reid_aug.recipe import Recipe, RunFolder, flattened, load_recipe, nearest, read_toml
from reid_aug.stage import Stage
from reid_aug.synthesize import prepare, synthesize
from reid_aug.train_reid import (
    LOG,
    cell_name,
    experiment,
    finished,
    seconds_per_step,
    steps_done,
    train_reid,
)

TRIES = 2
LOOK_EVERY = 2.0  # seconds between looks at how far the trainings are
HOPELESS = 2  # exit code of a cell that another try cannot help
CORES = len(os.sched_getaffinity(0))
AXIS_KEYS = {
    "backbone": "train_reid.backbone", "mode": "synthesize.mode", "ratio": "synthesize.ratio",
    "keep": "data.keep", "seed": "seed",
}  # fmt: skip
AXES: dict[str, type] = {"backbone": str, "mode": str, "ratio": float, "keep": float, "seed": int}


@dataclass(frozen=True, slots=True)
class Grid:
    """What to vary; a cell is one value of each axis."""

    name: str
    recipe: str
    backbone: tuple[str, ...]
    mode: tuple[str, ...] = ("supplement",)
    ratio: tuple[float, ...] = (0.0, 1.0)
    keep: tuple[float, ...] = (1.0,)
    seed: tuple[int, ...] = (0, 1, 2)
    set: Mapping[str, Any] = field(default_factory=dict)

    def cells(self) -> list["Cell"]:
        """Every combination, seeds outermost, so that a whole small table is there early.

        Ratio 0 is the same in all modes and stands once.
        """
        found: dict[tuple[Any, ...], Cell] = {}
        for seed, backbone, keep, mode, ratio in product(
            self.seed, self.backbone, self.keep, self.mode, self.ratio
        ):
            check_ratio(ratio, mode)
            cell = Cell(backbone, mode if ratio else "supplement", ratio, keep, seed)
            found.setdefault((backbone, cell.mode, ratio, keep, seed), cell)
        return list(found.values())


@dataclass(frozen=True, slots=True)
class Cell:
    """One training of a grid."""

    backbone: str
    mode: str
    ratio: float
    keep: float
    seed: int

    @property
    def name(self) -> str:
        """Its folder."""
        return cell_name(self.backbone, self.mode, self.ratio, self.keep, self.seed)

    @property
    def real_part(self) -> float:
        """The part of the real images that it sees."""
        return effective_keep(self.ratio, self.mode, self.keep)


def load_grid(name: str) -> Grid:
    """Read a grid by the name under which it ships, or by path.

    Raises:
        UserError: If the file, a key or a value is wrong.
    """
    where, stem, content = read_toml(name, "grids")
    known = [f.name for f in fields(Grid) if f.name != "name"]
    for key in content:
        if key not in known:
            raise UserError(f"{where}: unknown key {key!r}{nearest(key, known)}")
    if not isinstance(content.get("recipe"), str) or "backbone" not in content:
        raise UserError(f"{where}: must name a recipe and a list of backbones")
    if not isinstance(content.get("set", {}), Mapping):
        raise UserError(f"{where}: set must be a table, got {content['set']!r}")
    axes = {key: _axis(content[key], key, where) for key in AXES if key in content}
    return Grid(stem, content["recipe"], **axes, set=content.get("set", {}))


def _axis(value: Any, key: str, where: str) -> tuple[Any, ...]:
    kind = AXES[key]
    accepted = (int, float) if kind is float else (kind,)
    if not isinstance(value, list) or not value or not all(type(one) in accepted for one in value):
        raise UserError(f"{where}: {key} must be a list of {kind.__name__}, got {value!r}")
    return tuple(kind(one) for one in value)


def grid_recipe(grid: Grid, options: Mapping[str, Any]) -> Recipe:
    """The recipe of a grid, its ``[set]`` and the command line's options on top.

    Raises:
        UserError: If one of them is set by an axis, which would override it in silence.
    """
    given = dict(flattened({**grid.set, **options}))
    for axis, key in AXIS_KEYS.items():
        if key in given:
            raise UserError(f"{key}: the axis {axis} of grid {grid.name} sets it; change it there")
    return load_recipe(grid.recipe, given)


def cell_recipe(recipe: Recipe, cell: Cell) -> Recipe:
    """The recipe with the values of a cell."""
    return replace(
        recipe,
        seed=cell.seed,
        data=replace(recipe.data, keep=cell.keep),
        train_reid=replace(recipe.train_reid, backbone=cell.backbone),
    )


@dataclass(frozen=True, slots=True)
class Task:
    """What a process needs to run one cell."""

    cell: Cell
    recipe: Recipe
    root: Path
    bank: Path | None
    folder: Path
    generator: Path
    device: str
    at_once: int


def plan_tasks(grid: Grid, stage: Stage, generator: Path, at_once: int | None) -> list[Task]:
    """One task a cell, and where each will find its bank."""
    recipe = stage.recipe
    cells = grid.cells()
    for cell in cells:
        cell_recipe(recipe, cell)  # raises if an axis holds a value that cannot be
    for backbone in sorted({cell.backbone for cell in cells}):
        build_backbone(backbone, 2, recipe.train_reid.height, recipe.train_reid.width)
    devices = _devices(stage.device)
    workers = at_once or (len(devices) if stage.device.type == "cuda" else CORES)
    return [
        Task(
            cell,
            recipe,
            stage.root,
            _bank_of(cell, stage) if cell.ratio else None,
            stage.run.cell(cell.name),
            generator,
            devices[place % len(devices)],
            workers,
        )
        for place, cell in enumerate(cells)
    ]


def _devices(device: torch.device) -> list[str]:
    """The device itself, or every GPU where none of them was named."""
    if device.type != "cuda" or device.index is not None:
        return [str(device)]
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def _bank_of(cell: Cell, stage: Stage) -> Path:
    """The bank of the recipe's own kept set lies in the run folder, others in folders below."""
    own = cell.real_part == stage.recipe.data.keep
    return (stage.run if own else stage.run.below(cell.real_part)).bank


def run(tasks: Sequence[Task], stage: Stage) -> list[Task]:
    """Make the banks, then run every task that has no result yet; those that failed for good."""
    dataset = stage.dataset
    verify_images((*dataset.train, *dataset.query, *dataset.gallery))
    make_banks(tasks, stage)
    for line in describe(tasks, stage):
        print(line, file=sys.stderr)
    waiting = [task for task in tasks if not finished(task.folder, _about(task, stage))]
    return run_tasks(waiting, tasks[0].at_once) if waiting else []


def _about(task: Task, stage: Stage) -> dict[str, Any]:
    mix, config = _mix(task, stage.dataset), cell_recipe(task.recipe, task.cell).train_reid
    return experiment(mix, stage.dataset, config, task.cell.seed)


def _mix(task: Task, dataset: Dataset) -> Mix:
    cell, keep_seed = task.cell, task.recipe.data.keep_seed
    bank = Bank(task.bank) if task.bank else None
    return Mix(dataset.train, bank, cell.ratio, cell.mode, cell.keep, keep_seed)


def make_banks(tasks: Sequence[Task], stage: Stage) -> None:
    """One bank a kept set, at the largest size that a cell asks for, with its contact sheet."""
    for bank, (_, task) in sorted(_largest(tasks, stage).items()):
        cell, recipe = task.cell, stage.recipe
        config = replace(recipe.synthesize, ratio=cell.ratio, mode=cell.mode)
        data = replace(recipe.data, keep=cell.keep)
        job = prepare(stage.dataset, stage.poses, task.generator, config, data, recipe.seed)
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


def describe(tasks: Sequence[Task], stage: Stage) -> list[str]:
    """What will be trained, in a few lines."""
    config = stage.recipe.train_reid
    size = f"{config.height}x{config.width}"
    lines = [
        f"{len(tasks)} trainings of {config.steps} steps of {config.batch} images, "
        f"{tasks[0].at_once} at once, results in {stage.run.path / 'reid'}"
    ]
    if size != "256x128":
        lines.append(
            f"input {size} instead of the usual 256x128, to take minutes and not hours: "
            f"scores compare within this table only"
        )
    return lines


def describe_cost(tasks: Sequence[Task], stage: Stage) -> str:
    """Images to draw, and the time that the trainings take, measured on one step a backbone."""
    config, mix = stage.recipe.train_reid, Mix(stage.dataset.train)
    seconds = 0.0
    for backbone in sorted({task.cell.backbone for task in tasks}):
        step = seconds_per_step(mix, replace(config, backbone=backbone), stage.device)
        seconds += step * config.steps * sum(task.cell.backbone == backbone for task in tasks)
    drawn = sum(count for count, _ in _largest(tasks, stage).values())
    size = drawn * stage.recipe.data.height * stage.recipe.data.width * 3 / 1e6
    work = f"about {seconds / 60:.0f} min of work"
    return f"would draw {drawn} images ({size:.0f} MB), then train: {work}"


def run_cell(task: Task) -> None:
    """Train and evaluate one cell; what it prints goes to ``output.txt`` in its folder."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(max(1, CORES // task.at_once))
    task.folder.mkdir(parents=True, exist_ok=True)
    with (task.folder / "output.txt").open("a") as output, contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(output))
        stack.enter_context(contextlib.redirect_stderr(output))
        try:
            _train_cell(task)
        except UserError as error:
            print(error)
            sys.exit(HOPELESS)


def _train_cell(task: Task) -> None:
    dataset = read_market1501(task.root)
    config = cell_recipe(task.recipe, task.cell).train_reid
    device = torch.device(task.device)
    mix = _mix(task, dataset)
    train_reid(mix, dataset, config, task.folder, task.cell.seed, device)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def run_tasks(tasks: Sequence[Task], at_once: int) -> list[Task]:
    """Run every task in a process of its own; those that failed for good are returned."""
    waiting, failed = list(tasks), []
    tries = dict.fromkeys(tasks, 0)
    running: dict[SpawnProcess, Task] = {}
    steps = sum(task.recipe.train_reid.steps for task in tasks)
    done = 0
    try:
        with track(range(steps), f"{len(tasks)} trainings") as bar:
            while waiting or running:
                while waiting and len(running) < at_once:
                    task = waiting.pop(0)
                    running[_start(task)] = task
                    tries[task] += 1
                connection.wait([process.sentinel for process in running], LOOK_EVERY)
                for process in [p for p in running if not p.is_alive()]:
                    task = running.pop(process)
                    process.join()
                    if process.exitcode not in (0, HOPELESS) and tries[task] < TRIES:
                        waiting.append(task)
                        continue
                    done += task.recipe.train_reid.steps
                    failed += [task] if process.exitcode else []
                bar.update(done + sum(steps_done(t.folder) for t in running.values()) - bar.n)
    finally:
        for process in running:
            process.kill()
            process.join()
    return failed


def _start(task: Task) -> SpawnProcess:
    (task.folder / LOG).unlink(missing_ok=True)  # what an earlier try logged is no progress
    process = multiprocessing.get_context("spawn").Process(target=run_cell, args=(task,))
    process.start()
    return process
