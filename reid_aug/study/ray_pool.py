"""Trainings as tasks of an existing Ray cluster; this module does not start one.

A training takes one core, or one GPU where the cluster has GPUs. Ray runs it on one of the
machines, and on another one if that machine fails. The data set and the run folder must have the
same paths on every machine (a shared file system), and every machine needs the same version of
reid-aug. Both are checked before any training starts. The cluster ends the trainings of a benchmark
that has ended.
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

MOVES = 3  # how often Ray restarts a training whose machine or process died
PATIENCE = 120.0  # seconds for the machines of a cluster to answer
ENDING = 20.0  # seconds for a stopped training to end


class RayPool:
    """The trainings of one benchmark on a cluster.

    Args:
        address: HOST:PORT of the cluster's head, or "auto" on one of its machines.
        device: "cpu" or "cuda"; if None, "cuda" where the cluster has a GPU.
        limit: largest number of simultaneous trainings; if None, as many as the cluster can run.

    Raises:
        UserError: If ray is not installed, no cluster answers at the address, or the cluster lacks
            the resources of a training.
    """

    threads = 1

    def __init__(self, address: str, device: str | None = None, limit: int | None = None) -> None:
        self.ray = _connected(address)
        self._open = ExitStack()
        self._open.callback(self.ray.shutdown)
        self._open.enter_context(redirect_stdout(sys.stderr))  # Ray reports failed machines there
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
        """The number of trainings that the present machines can run at a time."""
        capacity = int(self.ray.cluster_resources().get(self._resource, 0))
        return min(capacity, self.limit or capacity)

    def check(self, root: Path, folder: Path) -> None:
        """Check on every machine that both folders exist and that reid-aug has this version.

        Raises:
            UserError: If a machine fails the check; the message names it.
        """
        with _token(folder) as token:
            for node in self.ray.nodes():
                found = (
                    self._check_machine(node["NodeID"], root, token)
                    if node["Alive"]
                    else __version__
                )
                if found != __version__:
                    raise UserError(
                        f"--ray: machine {node['NodeManagerAddress']} must have {root.absolute()} "
                        f"and {folder.absolute()} and reid-aug {__version__}, got {found}; "
                        f"put both folders on a shared file system"
                    )

    def _check_machine(self, node: str, root: Path, token: Path) -> str:
        affinity = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        there = {"scheduling_strategy": affinity(node, soft=False), "num_cpus": 0}
        remote_check = self.ray.remote(max_retries=0, **there)(_machine_check())
        try:
            found = remote_check.remote(str(root.absolute()), str(token))
            result: str = self.ray.get(found, timeout=PATIENCE)
            return result
        except self.ray.exceptions.RayError as error:
            return _last_line(error)

    def start(self, task: Task) -> None:
        """Submit a task to the cluster."""
        run = self._run.options(name=task.cell.name)
        self._running[run.remote(_absolute(task), self.device, self.threads)] = task

    def wait(self, seconds: float) -> list[tuple[Task, Ending]]:
        """The tasks that have ended. A task that Ray gave up counts as hopeless."""
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
        """Cancel the tasks and wait until their processes have ended."""
        references = list(self._running)
        self._running = {}
        for reference in references:
            self.ray.cancel(reference, force=True)
        if references:
            self.ray.wait(references, num_returns=len(references), timeout=ENDING)

    def close(self) -> None:
        """Disconnect from the cluster."""
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
    """Fail at once if nothing listens at the address; Ray itself would retry for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        if not port.isdigit():
            raise ValueError("must be HOST:PORT or auto")
        with socket.create_connection((host, int(port)), timeout=5):
            return
    if address != "auto":
        raise ValueError("must be HOST:PORT or auto")


def _device(resources: dict[str, float], wanted: str | None, address: str) -> str:
    """The device of the trainings: "cpu" or "cuda"."""
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
    """A temporary file that exists only on machines that share this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    token = folder.absolute() / f".token-{uuid.uuid4().hex}"
    token.touch()
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)


def _machine_check() -> Callable[[str, str], str]:
    """A function that returns the version of reid-aug on a machine, or names a missing path.

    Ray sends a nested function by value, so that the machine does not load torch to run it.
    """

    def check(root: str, token: str) -> str:
        from pathlib import Path

        from reid_aug import __version__

        missing = [path for path in (root, token) if not Path(path).exists()]
        return f"nothing at {missing[0]}" if missing else __version__

    return check


def _absolute(task: Task) -> Task:
    """The task with absolute paths."""

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
    """The last line of the message of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
