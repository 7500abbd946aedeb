"""A training of a grid as a task: what it needs, how it runs, and how many of them are run.

A task depends on no other, so tasks run in any order and any number at a time, wherever a pool puts
them: processes of this machine (:mod:`reid_aug.study.local_pool`) or a cluster
(:mod:`reid_aug.study.ray_pool`). A task writes its own folder only, and ``result.json`` last.
"""

import contextlib
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Protocol

import torch

from reid_aug.bank import Bank
from reid_aug.data.dataset import Dataset, read_market1501
from reid_aug.mixing import Mix, require_same_dataset
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import locked
from reid_aug.runtime.progress import track
from reid_aug.stages.recipe import Recipe
from reid_aug.stages.train_reid import experiment, train_reid
from reid_aug.stages.train_reid.folder import RESULT, finished, steps_done
from reid_aug.stages.train_reid.settings import TrainReidConfig
from reid_aug.study.cell import Cell, cell_recipe

TRIES = 2
LOOK_EVERY = 2.0  # seconds between looks at how far the trainings are
DYING = 60.0  # seconds that an earlier try may take to let its folder go
OUTPUT = "output.txt"  # in the folder of a task: what it printed


class Ending(Enum):
    """How a try of a task ended; the values are exit codes."""

    DONE = 0
    DIED = 1
    HOPELESS = 2  # another try cannot help


@dataclass(frozen=True, slots=True)
class Task:
    """What one cell needs to run; ``weights`` is what its training starts from."""

    cell: Cell
    recipe: Recipe
    root: Path
    bank: Path | None
    folder: Path
    generator: Path | None
    weights: Path | None = None

    @property
    def config(self) -> TrainReidConfig:
        """How it trains."""
        config = cell_recipe(self.recipe, self.cell).train_reid
        if not self.weights:
            return config
        return replace(config, weights=str(self.weights), weights_data="")  # it notes that itself

    def mix(self, dataset: Dataset) -> Mix:
        """What it trains on.

        Raises:
            UserError: If its bank does not fit.
        """
        cell, keep_seed = self.cell, self.recipe.data.keep_seed
        bank = Bank(self.bank) if self.bank else None
        least = cell.least_scores
        require_same_dataset(bank, dataset)
        return Mix(dataset.train, bank, cell.ratio, cell.mode, cell.keep, keep_seed, least)

    def is_done(self, dataset: Dataset) -> bool:
        """Whether its result is there.

        Raises:
            UserError: If another experiment's is.
        """
        if not (self.folder / RESULT).is_file() or (self.weights and not self.weights.is_file()):
            return False
        about = experiment(self.mix(dataset), dataset, self.config, self.cell.seed)
        return finished(self.folder, about)


class Pool(Protocol):
    """Where tasks run."""

    @property
    def at_once(self) -> int:
        """How many run at a time."""

    @property
    def threads(self) -> int:
        """How many threads a training has."""

    def check(self, root: Path, folder: Path) -> None:
        """Raise a UserError unless tasks would find the data set and the run folder."""

    def start(self, task: Task) -> None:
        """Let a task run."""

    def wait(self, seconds: float) -> list[tuple[Task, Ending]]:
        """The started tasks that have ended; waits for the first, at most so long."""

    def stop(self) -> None:
        """End the tasks that run, and forget them."""

    def close(self) -> None:
        """Leave; nothing runs any more."""


def run_tasks(tasks: Sequence[Task], pool: Pool) -> list[Task]:
    """Run every task, again when it dies; those that failed for good are returned."""
    waiting, failed = list(tasks), []
    running: set[Task] = set()
    tries = Counter[Task]()
    done = 0
    try:
        with track(range(sum(map(_steps, tasks))), f"{len(tasks)} trainings") as bar:
            while waiting or running:
                for task in waiting[: max(0, pool.at_once - len(running))]:
                    pool.start(task)
                    tries[task] += 1
                    running.add(task)
                    waiting.remove(task)
                for task, ending in pool.wait(LOOK_EVERY):
                    running.remove(task)
                    if ending is Ending.DIED and tries[task] < TRIES:
                        waiting.append(task)
                        continue
                    done += _steps(task)
                    failed += [] if ending is Ending.DONE else [task]
                bar.update(done + sum(steps_done(task.folder) for task in running) - bar.n)
    finally:
        pool.stop()
    return failed


def _steps(task: Task) -> int:
    return task.recipe.train_reid.steps


def run_cell(task: Task, device: str, threads: int) -> Ending:
    """Train and evaluate one cell; what it prints goes to ``output.txt`` in its folder."""
    torch.set_num_threads(threads)
    task.folder.mkdir(parents=True, exist_ok=True)
    with (task.folder / OUTPUT).open("a") as output, contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(output))
        stack.enter_context(contextlib.redirect_stderr(output))
        try:
            _wait_until_free(task.folder)
            train_cell(task, device)
        except UserError as error:
            print(error)
            return Ending.HOPELESS
        except Exception:
            traceback.print_exc()
            return Ending.DIED
    return Ending.DONE


def train_cell(task: Task, device: str) -> None:
    """Train and evaluate one cell."""
    dataset = read_market1501(task.root)
    mix = task.mix(dataset)
    train_reid(mix, dataset, task.config, task.folder, task.cell.seed, torch.device(device))


def _wait_until_free(folder: Path) -> None:
    """An earlier try, whose benchmark or machine has just died, may need a moment to follow."""
    end = time.monotonic() + DYING
    while time.monotonic() < end:
        with contextlib.suppress(UserError), locked(folder):
            return
        time.sleep(0.2)
