"""Tasks: the trainings of a grid, each with its inputs, and the loop that runs them in a pool.

A task does not depend on other tasks. Tasks therefore run in any order and any number at a time, as
processes of this machine (:mod:`reid_aug.study.local_pool`) or on a cluster
(:mod:`reid_aug.study.ray_pool`). A task writes only into its own folder, and ``result.json`` last.
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
from reid_aug.data.dataset import Dataset
from reid_aug.data.formats import read_dataset
from reid_aug.data.provenance import dataset_sha256
from reid_aug.mixing import Mix, require_same_dataset
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import locked
from reid_aug.runtime.progress import track
from reid_aug.stages.recipe import Recipe
from reid_aug.stages.train_reid import train_reid
from reid_aug.stages.train_reid.folder import RESULT, finished, steps_done
from reid_aug.stages.train_reid.result import experiment
from reid_aug.stages.train_reid.settings import TrainReidConfig
from reid_aug.study.cell import Cell, cell_recipe

TRIES = 2
POLL_EVERY = 2.0  # seconds between two updates of the progress bar
DYING = 60.0  # seconds within which an earlier try must release its folder
OUTPUT = "output.txt"  # in the folder of a task: its printed output


class Ending(Enum):
    """The outcome of one try of a task; the values are exit codes."""

    DONE = 0
    DIED = 1
    HOPELESS = 2  # another try cannot help


@dataclass(frozen=True, slots=True)
class Task:
    """One cell with the paths of its inputs. ``weights`` is the file of its starting weights."""

    cell: Cell
    recipe: Recipe
    root: Path
    dataset_sha256: str
    """The data set in ``root`` when the grid was planned."""
    bank: Path | None
    folder: Path
    generator: Path | None
    weights: Path | None = None

    @property
    def config(self) -> TrainReidConfig:
        """The settings of its training."""
        config = cell_recipe(self.recipe, self.cell).train_reid
        if not self.weights:
            return config
        return replace(
            config, weights=str(self.weights), weights_data=""
        )  # the file records its training images

    def mix(self, dataset: Dataset) -> Mix:
        """Its training set.

        Raises:
            UserError: If its bank does not fit the data set or the kept set.
        """
        cell, keep_seed = self.cell, cell_recipe(self.recipe, self.cell).data.keep_seed
        bank = Bank(self.bank) if self.bank else None
        least = cell.least_scores
        require_same_dataset(bank, dataset)
        return Mix(dataset.train, bank, cell.ratio, cell.mode, cell.keep, keep_seed, least)

    def is_done(self, dataset: Dataset) -> bool:
        """Whether its folder holds its result.

        Raises:
            UserError: If the folder holds the result of another experiment.
        """
        if not (self.folder / RESULT).is_file() or (self.weights and not self.weights.is_file()):
            return False
        about = experiment(self.mix(dataset), dataset, self.config, self.cell.seed)
        return finished(self.folder, about)


class Pool(Protocol):
    """A place where tasks run."""

    @property
    def at_once(self) -> int:
        """The number of tasks that run at a time."""

    @property
    def threads(self) -> int:
        """The number of threads per training."""

    def check(self, root: Path, folder: Path) -> None:
        """Raise a UserError unless tasks can reach the data set and the run folder."""

    def start(self, task: Task) -> None:
        """Start a task."""

    def wait(self, seconds: float) -> list[tuple[Task, Ending]]:
        """Wait for the first task to end, at most so long; return all that have ended."""

    def stop(self) -> None:
        """End all running tasks."""

    def close(self) -> None:
        """Release the resources of the pool, after all tasks have ended."""


def run_tasks(tasks: Sequence[Task], pool: Pool) -> list[Task]:
    """Run every task, up to ``TRIES`` times if it dies; return the tasks that failed."""
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
                for task, ending in pool.wait(POLL_EVERY):
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
    """Train and evaluate one cell; its printed output goes to ``output.txt`` in its folder."""
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
    """Train and evaluate one cell.

    Raises:
        UserError: If images of the data set were changed since the grid was planned.
    """
    dataset = read_dataset(task.root)
    if dataset_sha256(dataset) != task.dataset_sha256:
        raise UserError(
            f"{task.root}: must hold the images that the grid was started with; bring them back, "
            f"or run the same command again in another folder (--out)"
        )
    mix = task.mix(dataset)
    cell, on = task.cell, torch.device(device)
    train_reid(mix, dataset, task.config, task.folder, cell.seed, on, replicate=cell.replicate)


def _wait_until_free(folder: Path) -> None:
    """Wait until an earlier try, whose benchmark or machine has died, has ended too."""
    end = time.monotonic() + DYING
    while time.monotonic() < end:
        with contextlib.suppress(UserError), locked(folder):
            return
        time.sleep(0.2)
