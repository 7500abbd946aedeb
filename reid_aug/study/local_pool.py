"""Trainings as processes of this machine. Each process ends with the benchmark."""

from collections import Counter
from collections.abc import Sequence
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import NamedTuple

from reid_aug.runtime.workers import CORES, start_child
from reid_aug.study.tasks import Ending, Task, run_cell


class LocalPool:
    """A pool of at most ``at_once`` processes, spread evenly over the devices.

    The processes share the cores.
    """

    def __init__(self, devices: Sequence[str], at_once: int) -> None:
        self.devices, self.at_once = devices, at_once
        self.threads = max(1, CORES // at_once)
        self._running: list[_Running] = []

    def check(self, root: Path, folder: Path) -> None:
        """Nothing to check: child processes have the same file system."""

    def start(self, task: Task) -> None:
        """Start a task on the device with the fewest running tasks."""
        load = Counter(one.device for one in self._running)
        device = min(self.devices, key=lambda name: load[name])
        process = start_child(_run_in_child, task, device, self.threads)
        self._running.append(_Running(process, task, device))

    def wait(self, seconds: float) -> list[tuple[Task, Ending]]:
        """The tasks that have ended. A killed process counts as died."""
        connection.wait([one.process.sentinel for one in self._running], seconds)
        ended = [one for one in self._running if not one.process.is_alive()]
        self._running = [one for one in self._running if one not in ended]
        return [(one.task, one.ending()) for one in ended]

    def stop(self) -> None:
        """Kill the processes."""
        for one in self._running:
            one.process.kill()
            one.process.join()
        self._running = []

    def close(self) -> None:
        """Nothing to close."""


class _Running(NamedTuple):
    process: SpawnProcess
    task: Task
    device: str

    def ending(self) -> Ending:
        self.process.join()
        code = self.process.exitcode
        return Ending(code) if code in (0, Ending.HOPELESS.value) else Ending.DIED


def _run_in_child(task: Task, device: str, threads: int) -> int:
    return run_cell(task, device, threads).value
