"""Points of a part: measured in order, recorded at once, skipped where they are done.

A file of a part:

    {"part": "ceilings", "is_done": true, "points": {"copy": {"gigabytes_per_second": 3000.0}, ...}}

A point that failed is {"error": reason}. ``running`` is the point that is being measured; if its
process dies, the point is recorded as failed, unless the time was up.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reid_aug.runtime.files import write_json

SICK = 3  # exit code of a process whose device gives errors only
DIED = "the process ended while it measured this"
LATER = "later"  # of a point that has to be measured again, because it was not finished


@dataclass(frozen=True, slots=True)
class Scene:
    """Where and with what a run measures."""

    out: Path
    device: torch.device
    is_tiny: bool = False
    data: Path | None = None
    until: float = float("inf")
    """The end of the run, as :func:`time.time` counts."""

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return self.until - time.time()

    @property
    def work(self) -> Path:
        """A folder for files that are no results."""
        return self.out / "work"


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement."""

    name: str
    seconds: float
    """The time that must be left to begin it."""
    measure: Callable[[], Mapping[str, Any]]
    """Returns JSON values; with a true :data:`LATER`, the next run continues it."""


Part = Callable[[Scene], Iterable[Point]]


class Record:
    """The file of a part."""

    def __init__(self, out: Path, part: str) -> None:
        self.path = out / f"{part}.json"
        empty = {"part": part, "is_done": False, "points": {}}
        with suppress(FileNotFoundError):
            empty = json.loads(self.path.read_text(encoding="utf-8"))
        self.content: dict[str, Any] = empty

    @property
    def is_done(self) -> bool:
        """Whether all points are measured."""
        return bool(self.content["is_done"])

    @property
    def points(self) -> dict[str, Any]:
        """The results by the name of their point."""
        return self.content["points"]

    def has(self, name: str) -> bool:
        """Whether a point is measured to its end."""
        return name in self.points and not self.points[name].get(LATER)

    def begin(self, name: str) -> None:
        """Note that a point is being measured."""
        self._write(running=name)

    def add(self, name: str, result: Mapping[str, Any]) -> None:
        """Record the result of a point."""
        self.points[name] = dict(result)
        self.content.pop("running", None)
        self._write()

    def finish(self, is_done: bool) -> None:
        """Record whether the part is done."""
        self._write(is_done=is_done)

    def blame(self) -> None:
        """Record the point that was running as failed."""
        name = self.content.get("running")
        if name:
            self.add(name, {"error": DIED})

    def _write(self, **changes: Any) -> None:
        self.content |= changes
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, self.content)


def measure_parts(parts: Mapping[str, Part], scene: Scene) -> int:
    """Measure what is missing of all parts; an exit code, :data:`SICK` for a device in error."""
    for name, part in parts.items():
        record = Record(scene.out, name)
        if record.is_done:
            continue
        is_complete = True
        for point in _points(part, scene):
            if record.has(point.name):
                continue
            if scene.left < point.seconds:
                is_complete = False
                continue  # a later point may need less
            print(f"{name}: {point.name}, {scene.left:.0f} s left", flush=True)
            record.begin(point.name)
            record.add(point.name, _result(point))
            is_complete &= record.has(point.name)
            if not _is_well(scene.device):
                return SICK
        record.finish(is_complete)
    return 0


def _points(part: Part, scene: Scene) -> Iterator[Point]:
    """The points of a part; one that fails, if the part cannot be prepared."""
    try:
        yield from part(scene)
    except Exception as error:
        reason = _reason(error)

        def fail() -> Mapping[str, Any]:
            return {"error": reason}

        yield Point("preparation", 0, fail)


def _result(point: Point) -> Mapping[str, Any]:
    try:
        return point.measure()
    except Exception as error:  # what fails is a result, and the next point may not
        return {"error": _reason(error)}


def _reason(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"


def _is_well(device: torch.device) -> bool:
    """Whether the device still computes; after some errors of CUDA, only a new process can."""
    try:
        return bool(torch.ones(2, device=device).sum().item() == 2)
    except RuntimeError:
        return False


def table(out: Path) -> Iterator[str]:
    """The lines of a table of all results, in Markdown."""
    yield "| part | point | result |"
    yield "| --- | --- | --- |"
    for path in sorted(out.glob("*.json")):
        record = Record(out, path.stem)
        for name, values in record.points.items():
            cells = (f"{k} {_shown(v)}" for k, v in values.items() if not isinstance(v, dict))
            yield f"| {path.stem} | {name} | {', '.join(cells)} |"


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
