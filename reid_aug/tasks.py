"""Trainings as processes: each task is one, writes its own folder, and is tried again when it dies.

A task depends on no other, so they run in any order and any number at a time.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from reid_aug.bank import Bank
from reid_aug.dataset import Dataset, read_market1501
from reid_aug.errors import UserError
from reid_aug.grid import Cell, cell_recipe
from reid_aug.mixing import Mix
from reid_aug.progress import track
from reid_aug.recipe import Recipe
from reid_aug.reid_folder import finished, steps_done
from reid_aug.reid_settings import TrainReidConfig
from reid_aug.train_reid import experiment, train_reid

TRIES = 2
LOOK_EVERY = 2.0  # seconds between looks at how far the trainings are
HOPELESS = 2  # exit code of a cell that another try cannot help
CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Task:
    """What a process needs to run one cell; ``weights`` is what its training starts from."""

    cell: Cell
    recipe: Recipe
    root: Path
    bank: Path | None
    folder: Path
    generator: Path | None
    device: str
    at_once: int
    weights: Path | None = None

    @property
    def config(self) -> TrainReidConfig:
        """How it trains."""
        config = cell_recipe(self.recipe, self.cell).train_reid
        return replace(config, weights=str(self.weights)) if self.weights else config

    def mix(self, dataset: Dataset) -> Mix:
        """What it trains on."""
        cell, keep_seed = self.cell, self.recipe.data.keep_seed
        bank = Bank(self.bank) if self.bank else None
        return Mix(dataset.train, bank, cell.ratio, cell.mode, cell.keep, keep_seed)

    def is_done(self, dataset: Dataset) -> bool:
        """Whether its result is there.

        Raises:
            UserError: If another experiment's is.
        """
        if self.weights and not self.weights.is_file():
            return False
        about = experiment(self.mix(dataset), dataset, self.config, self.cell.seed)
        return finished(self.folder, about)


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
    mix, device = task.mix(dataset), torch.device(task.device)
    train_reid(mix, dataset, task.config, task.folder, task.cell.seed, device)


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
    process = multiprocessing.get_context("spawn").Process(target=run_cell, args=(task,))
    process.start()
    return process
