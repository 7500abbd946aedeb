"""The work that the cells of a grid share. Each piece is done once, before the cells.

- One generator per kept set, for the cells whose generator the grid trains.
- One bank per kept set and method, with the largest number of images that a cell needs.
- One scoring per bank whose images cells choose by score. The scoring network is a plain training
  on the kept set of the bank, so that no score leaks images outside the kept set.
- One network per backbone and seed, for cells that start from external people.

Interrupted work is resumed, and finished work is not repeated.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from reid_aug.bank import Bank
from reid_aug.bank.card import read_card
from reid_aug.bank.contact_sheet import write_contact_sheet
from reid_aug.bank.scores import NETWORK
from reid_aug.data.dataset import PersonImage, kept
from reid_aug.data.formats import read_dataset
from reid_aug.data.provenance import dataset_sha256
from reid_aug.generator import load_generator
from reid_aug.mixing import share_out
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.runtime.progress import track
from reid_aug.stages import train_generator as generators
from reid_aug.stages.bank.score import score_bank
from reid_aug.stages.recipe import RunFolder
from reid_aug.stages.stage import Stage, people_folder
from reid_aug.stages.synthesize import PlannedBank, plan_bank, synthesize
from reid_aug.stages.train_generator.pairs import Pairs
from reid_aug.stages.train_reid.folder import MODEL
from reid_aug.study.cell import Cell, cell_recipe, shared_recipe
from reid_aug.study.grid import Grid
from reid_aug.study.tasks import Pool, Task, run_tasks

Banks = Mapping[Path, tuple[int, Task]]  # by path: the number of images, and a task that needs them


def check_given(tasks: Sequence[Task], stage: Stage) -> None:
    """Check the banks and generators that the grid names, before any work starts.

    Raises:
        UserError: If one cannot be read, or a bank does not fit the kept set of its cells.
    """
    largest: dict[tuple[str, float, str], Task] = {}
    for task in tasks:
        if task.cell.bank:
            key = task.cell.bank, task.cell.real_part, task.cell.min_score
            largest[key] = max(largest.get(key, task), task, key=lambda one: _count(one, stage))
    for task in largest.values():
        task.mix(stage.dataset)
    given = {task.generator for task in tasks if not task.cell.trains_generator}
    for path in sorted(filter(None, given)):
        load_generator(path)


def banks_to_make(tasks: Sequence[Task], stage: Stage) -> Banks:
    """Every bank that the grid makes, with the largest number of images that a cell needs."""
    largest: dict[Path, tuple[int, Task]] = {}
    for task in tasks:
        if task.bank and not task.cell.bank:
            count = _count(task, stage)
            if count > largest.get(task.bank, (0, task))[0]:
                largest[task.bank] = count, task
    return dict(sorted(largest.items()))


def _count(task: Task, stage: Stage) -> int:
    """The number of generated images that a cell needs."""
    cell, data = task.cell, cell_recipe(stage.recipe, task.cell).data
    return share_out(stage.dataset.train, cell.ratio, cell.mode, data.keep, data.keep_seed)[1]


def make_banks(tasks: Sequence[Task], stage: Stage) -> None:
    """Train the generators of the grid, then make the banks with their contact sheets.

    Raises:
        UserError: If a bank cannot be made. Where this is known in advance, no work is done.
    """
    banks = banks_to_make(tasks, stage)
    checked = {
        bank: planned_bank(task, stage)
        for bank, (_, task) in banks.items()
        if not task.cell.trains_generator
    }
    train_generators(tasks, stage)
    for bank, (_, task) in banks.items():
        planned = checked.get(bank) or planned_bank(task, stage)
        made = synthesize(planned, bank.parent, stage.device)
        sheet = RunFolder(bank.parent).contact_sheet
        write_contact_sheet(Bank(made), planned.real, stage.root, sheet)
        print(f"look at {sheet}", file=sys.stderr)


def planned_bank(task: Task, stage: Stage, generator: Path | None = None) -> PlannedBank:
    """The bank of a task as it will be made, with its own generator or another one."""
    recipe = shared_recipe(stage.recipe, task.cell)
    checkpoint = generator or task.generator
    synthesis, layout = recipe.synthesize, recipe.data
    return plan_bank(stage.dataset, stage.poses, checkpoint, synthesis, layout, recipe.seed)


def train_generators(tasks: Sequence[Task], stage: Stage) -> None:
    """Train the generators of the grid: one per kept set, and one on all images."""
    network, config = stage.recipe.generator, stage.recipe.train_generator
    for path, task in sorted(own_generators(tasks).items()):
        real, pairs = pairs_of(task, stage)
        print(generators.describe_losses(config), file=sys.stderr)
        metadata = generators.training_metadata(pairs, network, config, real, stage.poses)
        generators.train_generator(pairs, network, config, path.parent, metadata, stage.device)


def own_generators(tasks: Sequence[Task]) -> dict[Path, Task]:
    """The paths of the generators that the grid trains, each with a task that needs it."""
    return {task.generator: task for task in tasks if task.generator and task.cell.trains_generator}


def pairs_of(task: Task, stage: Stage) -> tuple[tuple[PersonImage, ...], Pairs]:
    """The images that train the generator of a task, and the training pairs among them."""
    recipe, part = shared_recipe(stage.recipe, task.cell), task.cell.generator_part
    layout = replace(recipe.data, keep=part)
    real = kept(stage.dataset.train, part, layout.keep_seed)
    pairs = generators.pairs_of(real, stage.poses, layout, recipe.train_generator, recipe.seed)
    return real, pairs


def score_banks(grid: Grid, tasks: Sequence[Task], stage: Stage, pool: Pool) -> list[Task]:
    """Score every bank whose images cells choose by score; return the scorers that failed."""
    scorers_ = scorers(grid, tasks, stage)
    failed = _run(scorers_.values(), pool, stage.root)
    for bank, names in sorted(_scores_wanted(tasks).items()):
        scorer_ = scorers_.get(bank)
        if scorer_ in failed:
            continue  # the cells report the missing scores
        model = scorer_.folder / MODEL if scorer_ else None
        if not _is_scored(Bank(bank), names, model):
            show = partial(track, what=f"score {bank.parent.name}")
            weights = {NETWORK.option: model} if model else {}
            score_bank(Bank(bank), stage.dataset, weights, stage.device, show)
    return failed


def _scores_wanted(tasks: Sequence[Task]) -> dict[Path, set[str]]:
    wanted: dict[Path, set[str]] = {}
    for task in tasks:
        if task.bank and not task.cell.bank and task.cell.min_score:
            wanted.setdefault(task.bank, set()).update(task.cell.least_scores)
    return wanted


def scorers(grid: Grid, tasks: Sequence[Task], stage: Stage) -> dict[Path, Task]:
    """The plain training that scores a bank, for every bank that a network must score.

    It uses the real images of the bank, the first backbone of the grid and the seed of the recipe.
    It is a cell of the grid, if the grid has this cell.
    """
    found = {}
    wanted = _scores_wanted(tasks)
    for task in tasks:
        if task.bank in wanted and wanted[task.bank] & {*NETWORK.names}:
            seed = shared_recipe(stage.recipe, task.cell).seed
            real = Cell(grid.backbone[0], "supplement", 0.0, task.cell.real_part, seed)
            cell = replace(real, replicate=task.cell.replicate)
            folder = stage.run.cell(cell.name)
            found[task.bank] = Task(
                cell, stage.recipe, stage.root, task.dataset_sha256, None, folder, None
            )
    return found


def _is_scored(bank: Bank, names: set[str], model: Path | None) -> bool:
    """Whether every row has these scores by this network, and the card of the bank is current."""
    if not names <= bank.scores.keys() or any(np.isnan(bank.scores[n]).any() for n in names):
        return False
    by_network = names & {*NETWORK.names}
    if by_network and model:
        digest = sha256(model)
        if any(bank.about_scores[name].get("scorer_sha256") != digest for name in by_network):
            return False
    try:
        card = read_card(bank.path)
    except UserError:
        return False
    return bool(card.content.get("content_sha256") == bank.attributes.content_sha256)


def pre_train(grid: Grid, tasks: Sequence[Task], pool: Pool) -> list[Task]:
    """Train the networks that cells start from on the external people; return those that failed."""
    if grid.external is None:
        return []
    root = people_folder(grid.external)
    return _run([_pre_training(task, root) for task in starts(tasks).values()], pool, root)


def starts(tasks: Sequence[Task]) -> dict[Path, Task]:
    """The paths of the starting weights that the grid trains, each with a task that needs them."""
    return {task.weights: task for task in tasks if task.weights}


def _pre_training(task: Task, root: Path) -> Task:
    """The training on the people in ``root`` that makes the starting weights of a task."""
    assert task.weights is not None
    cell = Cell(task.cell.backbone, "supplement", 0.0, 1.0, task.cell.seed)
    folder = task.weights.parent
    digest = dataset_sha256(read_dataset(root))
    return replace(
        task,
        cell=cell,
        root=root,
        dataset_sha256=digest,
        bank=None,
        folder=folder,
        generator=None,
        weights=None,
    )


def _run(tasks: Iterable[Task], pool: Pool, root: Path) -> list[Task]:
    """Run the unfinished tasks among some on one data set; return those that failed."""
    dataset = read_dataset(root)
    waiting = [task for task in dict.fromkeys(tasks) if not task.is_done(dataset)]
    return run_tasks(waiting, pool) if waiting else []
