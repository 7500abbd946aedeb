"""Run a grid of experiments: the work that cells share, then every cell.

Finished work is not repeated. A cell that has a result is skipped, and it is refused where that
result belongs to another experiment.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from reid_aug.data.dataset import verify_images
from reid_aug.data.provenance import dataset_sha256
from reid_aug.runtime.workers import CORES
from reid_aug.stages.stage import Stage
from reid_aug.stages.train_reid import check_network
from reid_aug.stages.train_reid.folder import MODEL
from reid_aug.study.cell import Cell, cell_recipe
from reid_aug.study.cost import describe
from reid_aug.study.grid import Grid
from reid_aug.study.local_pool import LocalPool
from reid_aug.study.ray_pool import RayPool
from reid_aug.study.shared_work import check_given, make_banks, pre_train, score_banks
from reid_aug.study.tasks import Pool, Task, run_tasks


def plan_tasks(grid: Grid, stage: Stage, generator: str | None) -> list[Task]:
    """One task per cell, with the paths of the files that it shares with other cells.

    Args:
        generator: the path or name of the given generator, if there is one.

    Raises:
        UserError: If an axis holds an invalid value, or a file that a cell cannot use.
    """
    recipe, cells = stage.recipe, grid.cells()
    for cell in cells:
        cell_recipe(recipe, cell)  # raises if an axis holds an invalid value
    for cell in {(cell.backbone, cell.preset): cell for cell in cells}.values():
        check_network(cell_recipe(recipe, cell).train_reid)
    needs_one = any(cell.needs_generator and cell.generator == "given" for cell in cells)
    given = stage.generator(generator) if needs_one else None
    digest = dataset_sha256(stage.dataset)
    tasks = [
        Task(
            cell,
            recipe,
            stage.root,
            digest,
            _bank_of(cell, stage),
            stage.run.cell(cell.name),
            _generator_of(cell, stage, given),
            _weights_of(cell, stage) if cell.start == "external" else None,
        )
        for cell in cells
    ]
    check_given(tasks, stage)
    return tasks


def open_pool(stage: Stage, ray: str | None, device: str | None, at_once: int | None) -> Pool:
    """The Ray cluster at the address ``ray``, or processes of this machine without an address.

    Args:
        device: the given device, if there is one.
        at_once: number of simultaneous trainings. If None, one per GPU, or one per core on the CPU.
    """
    if ray:
        return RayPool(ray, device, at_once)
    devices = _devices(stage.device)
    on_gpu = stage.device.type == "cuda"
    return LocalPool(devices, at_once or (len(devices) if on_gpu else CORES))


def _devices(device: torch.device) -> list[str]:
    """The device itself, or every GPU where the device is "cuda" without an index."""
    if device.type != "cuda" or device.index is not None:
        return [str(device)]
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def _bank_of(cell: Cell, stage: Stage) -> Path | None:
    """The path of the bank of a cell, None without generated images.

    The plain bank of the recipe's kept set lies in the run folder itself, other banks below it.
    """
    if not cell.ratio:
        return None
    if cell.bank:
        return Path(cell.bank)
    own = cell.real_part == stage.recipe.data.keep and not cell.bank_marks
    return (stage.run if own else stage.run.below(cell.real_part, *cell.bank_marks)).bank


def _generator_of(cell: Cell, stage: Stage, given: Path | None) -> Path | None:
    """The path of the generator of a cell, None where it needs none.

    A generator that the grid trains lies in the folder of its kept set.
    """
    if not cell.needs_generator:
        return None
    if cell.trains_generator:
        return stage.run.below(cell.generator_part, "kept", *cell.replicate_marks).generator
    return given if cell.generator == "given" else Path(cell.generator)


def _weights_of(cell: Cell, stage: Stage) -> Path:
    return stage.run.external(f"{cell.backbone}-seed{cell.seed}") / MODEL


def run(grid: Grid, tasks: Sequence[Task], stage: Stage, pool: Pool) -> list[Task]:
    """Do the shared work and run every task that has no result yet; return the failed tasks."""
    dataset = stage.dataset
    pool.check(stage.root, stage.run.path)
    verify_images((*dataset.train, *dataset.query, *dataset.gallery))
    for line in describe(grid, tasks, stage, pool):
        print(line, file=sys.stderr)
    make_banks(tasks, stage)
    failed = pre_train(grid, tasks, pool) + score_banks(grid, tasks, stage, pool)
    waiting = [task for task in tasks if not task.is_done(dataset)]
    failed += run_tasks(waiting, pool) if waiting else []
    return list(dict.fromkeys(failed))
