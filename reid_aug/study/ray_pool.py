"""Trainings as tasks of a Ray cluster that is there already; nothing here starts one.

A training takes one core, or one GPU where the cluster has some. Ray puts it on a machine, and on
another one when that machine dies. Data set and run folder must have the same paths on every
machine (a shared file system), and every machine needs the same reid-aug: both are looked at before
anything is done. The cluster ends the trainings of a benchmark that is gone.
"""

import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from reid_aug import __version__
from reid_aug.runtime.errors import UserError
from reid_aug.study.tasks import OUTPUT, Ending, Task, run_cell

MOVES = 3  # times that Ray starts a training again whose machine or process died
PATIENCE = 120.0  # seconds for the machines of a cluster to answer
ENDING = 20.0  # seconds for a stopped training to end


class RayPool:
    """The trainings of one benchmark on a cluster.

    Args:
        address: HOST:PORT of the cluster's head, or "auto" on one of its machines.
        device: "cpu" or "cuda"; without it a GPU where the cluster has any.
        limit: trainings at once; without it as many as there is room for.

    Raises:
        UserError: If ray is not installed, no such cluster answers, or it has not what a training
            needs.
    """

    threads = 1

    def __init__(self, address: str, device: str | None = None, limit: int | None = None) -> None:
        self.ray = _connected(address)
        self._open = ExitStack()
        self._open.callback(self.ray.shutdown)
        self._open.enter_context(redirect_stdout(sys.stderr))  # Ray tells there who has died
        try:
            self.device = _device(self.ray.cluster_resources(), device, address)
        except UserError:
            self.close()
            raise
        self.limit = limit
        self._resource = "GPU" if self.device == "cuda" else "CPU"
        self._running: dict[Any, Task] = {}
        self._run = self.ray.remote(
            num_cpus=1,
            num_gpus=int(self.device == "cuda"),
            max_calls=1,  # a process of its own for each training
            max_retries=MOVES,
            scheduling_strategy="SPREAD",
        )(run_cell)

    @property
    def at_once(self) -> int:
        """What the machines that are there now have room for."""
        room = int(self.ray.cluster_resources().get(self._resource, 0))
        return min(room, self.limit or room)

    def check(self, root: Path, folder: Path) -> None:
        """Ask every machine whether it sees both folders and has this reid-aug.

        Raises:
            UserError: If one does not; the message names it.
        """
        with _token(folder) as token:
            for node in self.ray.nodes():
                found = self._ask(node["NodeID"], root, token) if node["Alive"] else __version__
                if found != __version__:
                    raise UserError(
                        f"--ray: machine {node['NodeManagerAddress']} must see {root.absolute()} "
                        f"and {folder.absolute()} and have reid-aug {__version__}, got {found}; "
                        f"put both folders on a shared file system"
                    )

    def _ask(self, node: str, root: Path, token: Path) -> str:
        affinity = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        there = {"scheduling_strategy": affinity(node, soft=False), "num_cpus": 0}
        look = self.ray.remote(max_retries=0, **there)(_question())
        try:
            return self.ray.get(look.remote(str(root.absolute()), str(token)), timeout=PATIENCE)
        except self.ray.exceptions.RayError as error:
            return _last_line(error)

    def start(self, task: Task) -> None:
        """Hand a task to the cluster."""
        run = self._run.options(name=task.cell.name)
        self._running[run.remote(_absolute(task), self.device, self.threads)] = task

    def wait(self, seconds: float) -> list[tuple[Task, Ending]]:
        """The tasks that have ended; what Ray gave up is hopeless."""
        if not self._running:
            time.sleep(seconds)
            return []
        ready, _ = self.ray.wait(list(self._running), timeout=seconds)
        return [self._ended(reference) for reference in ready]

    def _ended(self, reference: Any) -> tuple[Task, Ending]:
        task = self._running.pop(reference)
        try:
            return task, Ending(self.ray.get(reference))
        except self.ray.exceptions.RayError as error:
            task.folder.mkdir(parents=True, exist_ok=True)
            with (task.folder / OUTPUT).open("a") as output:
                print(f"Ray: {_last_line(error)}", file=output)
            return task, Ending.HOPELESS

    def stop(self) -> None:
        """Cancel the tasks, and wait until their processes are gone."""
        references = list(self._running)
        self._running = {}
        for reference in references:
            self.ray.cancel(reference, force=True)
        if references:
            self.ray.wait(references, num_returns=len(references), timeout=ENDING)

    def close(self) -> None:
        """Leave the cluster."""
        self._open.close()


def _connected(address: str) -> Any:
    """The module ray, connected to the cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise UserError(
            f"--ray needs the package ray ({error}); install it with: "
            f'pip install "reid-aug[cluster]"'
        ) from None
    where = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    try:
        _knock(where)
        ray.init(address=where, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:  # ConnectionError is an OSError
        raise UserError(
            f"--ray {address}: no Ray cluster answers there, {_last_line(error)}; "
            f"start one with: ray start --head"
        ) from None
    return ray


def _knock(address: str) -> None:
    """Fail at once where nobody listens: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        if not port.isdigit():
            raise ValueError("must be HOST:PORT or auto")
        with socket.create_connection((host, int(port)), timeout=5):
            return
    if address != "auto":
        raise ValueError("must be HOST:PORT or auto")


def _device(resources: dict[str, float], wanted: str | None, address: str) -> str:
    """What the trainings compute on."""
    device = (wanted or ("cuda" if resources.get("GPU", 0) >= 1 else "cpu")).partition(":")[0]
    for resource in ("CPU", "GPU") if device == "cuda" else ("CPU",):
        if resources.get(resource, 0) < 1:
            raise UserError(
                f"--ray {address}: the cluster must have a {resource} for a training on {device}, "
                f"got none; add a machine to it, or choose another --device"
            )
    return device


@contextmanager
def _token(folder: Path) -> Iterator[Path]:
    """A file that only those see who see this very folder."""
    folder.mkdir(parents=True, exist_ok=True)
    token = folder.absolute() / f".seen-{uuid.uuid4().hex}"
    token.touch()
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)


def _question() -> Callable[[str, str], str]:
    """What a machine of the cluster is asked: its reid-aug, or what it does not see.

    A function in a function travels whole, so no machine must load torch to answer.
    """

    def look(root: str, token: str) -> str:
        from pathlib import Path

        from reid_aug import __version__

        missing = [path for path in (root, token) if not Path(path).exists()]
        return f"nothing at {missing[0]}" if missing else __version__

    return look


def _absolute(task: Task) -> Task:
    """The task with paths that hold in another working directory."""

    def absolute(path: Path | None) -> Path | None:
        return path.absolute() if path else None

    reid = task.recipe.train_reid
    if reid.weights:
        reid = replace(reid, weights=str(Path(reid.weights).absolute()))
    return replace(
        task,
        recipe=replace(task.recipe, train_reid=reid),
        root=task.root.absolute(),
        bank=absolute(task.bank),
        folder=task.folder.absolute(),
        generator=absolute(task.generator),
        weights=absolute(task.weights),
    )


def _last_line(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
