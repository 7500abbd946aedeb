"""The folder of one re-ID training: its name, its progress and its result.

    images.txt           the exact images used, in the format of sha256sum: the hash of the bytes of
                         each file, or of the pixels of the row for "bank:ROW"
    log.jsonl            losses, one line per ten steps
    state.safetensors    the state of an unfinished training; deleted when it is finished
    model.safetensors    the network, with the fingerprints of the images that trained it
    result.json          settings and scores

The result is written last, so a folder with a result is finished.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from torch import Tensor

from reid_aug.evaluation import RESULT_FORMAT
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import committed
from reid_aug.runtime.json_toml import parse_json
from reid_aug.runtime.records import Table, parse_table, read_table
from reid_aug.runtime.regular_files import read_text
from reid_aug.runtime.weights import check_tensors, read_tensors, tensors_sha256, write_tensors

IMAGES, LOG, MODEL, RESULT = "images.txt", "log.jsonl", "model.safetensors", "result.json"
STATE = "state.safetensors"
REID_STATE_FORMAT = "reid_aug.reid_state/1"
BITLESS = (
    "workers",
    "weights",  # the name of a file, whose content is "starting_weights"
)  # keys of a recipe that do not change the result
ADDED = {"weights_data": ""}  # values of keys that recipes of older versions lack


def cell_name(
    backbone: str,
    mode: str,
    ratio: float,
    keep: float,
    seed: int,
    min_score: Mapping[str, float] | None = None,
    marks: Sequence[str] = (),
) -> str:
    """The folder name of one training; ``marks`` distinguish it from a plain one.

    A colon of a backbone becomes a dash, because programs as rsync take it for the end of a host.

    >>> cell_name("resnet50", "replace", 0.5, 1.0, 0), cell_name("resnet50", "replace", 0, 0.2, 1)
    ('resnet50-replace0.5-keep1-seed0', 'resnet50-baseline-keep0.2-seed1')
    >>> cell_name("timm:vit_tiny_patch16_224", "supplement", 0, 1.0, 0)
    'timm-vit_tiny_patch16_224-baseline-keep1-seed0'
    """
    mix = f"{mode}{ratio:g}" if ratio else "baseline"
    filters = [f"{name}{least:g}" for name, least in sorted((min_score or {}).items())]
    own = [
        f"{backbone.replace(':', '-')}-{mix}-keep{keep:g}-seed{seed}",
        *(filters if ratio else []),
        *marks,
    ]
    return "-".join(own)


def describe(path: Path) -> str:
    """The scores of a result in one line, in per cent."""
    result = _read(path)
    names = {"mAP": "mAP", "rank1": "Rank-1", "rank5": "Rank-5", "mINP": "mINP"}
    scores = [f"{label} {100 * result.fraction(name):.1f} %" for name, label in names.items()]
    return f"{result.text('backbone')}: {', '.join(scores)} ({result.whole('queries', 0)} queries)"


def _read(path: Path) -> Table:
    return read_table(path, "a result of train-reid", format_=RESULT_FORMAT)


def steps_done(folder: Path) -> int:
    """The number of steps in the log of ``folder``."""
    path = folder / LOG
    steps = [_step(line) for line in _lines(path)[-1:]]
    return 0 if math.inf in steps else int(sum(steps))  # the last line may not be complete yet


def read_losses(folder: Path) -> tuple[tuple[float, float], ...]:
    """(step, loss) of every line in the log of ``folder``; () without a readable log."""
    path = folder / LOG
    try:
        lines = [parse_json(line, str(path)) for line in read_text(path).splitlines()]
        return tuple((float(line["step"]), float(line["loss"])) for line in lines)
    except (UserError, ValueError, KeyError, TypeError):
        return ()


def finished(folder: Path, about: Mapping[str, Any]) -> bool:
    """Whether ``folder`` holds the result of the experiment ``about``.

    Raises:
        UserError: If it holds the result of another experiment.
    """
    path = folder / RESULT
    if not path.exists():
        return False
    result = _read(path)
    if others := _differences(about, result):
        raise UserError(
            f"{path}: holds the result of another experiment, which differs in "
            f"{', '.join(others)}; choose another folder with --out, or remove {folder}"
        )
    return True


def read_state(folder: Path, about: Mapping[str, Any]) -> tuple[int, dict[str, Tensor]]:
    """The steps of the saved state and its tensors; 0 and no tensors if there is no state.

    Raises:
        UserError: If the state belongs to another experiment, or is damaged.
    """
    path = folder / STATE
    if not path.exists():
        return 0, {}
    tensors, metadata = read_tensors(path)
    notes = Table(metadata, str(path))
    notes.text("format", (REID_STATE_FORMAT,))
    if others := _differences(_plain(about), notes.table("about")):
        raise UserError(
            f"{path}: belongs to an unfinished training that differs in {', '.join(others)}; go on "
            f"with its settings, choose another folder with --out, or remove {folder}"
        )
    check_tensors(tensors, notes)
    return notes.whole("step", 1), tensors


def write_state(
    folder: Path, about: Mapping[str, Any], step: int, tensors: Mapping[str, Tensor]
) -> None:
    """Write the state of the experiment ``about`` after ``step`` steps."""
    notes = {"format": REID_STATE_FORMAT, "step": step, "about": _plain(about)}
    notes["tensors_sha256"] = tensors_sha256(tensors)
    write_tensors(folder / STATE, tensors, notes)


def open_log(folder: Path, start: int) -> TextIO:
    """The log, open for more lines; lines of steps after ``start`` are deleted."""
    path = folder / LOG
    lines = _lines(path)
    with committed(path) as part:
        part.write_text("".join(f"{line}\n" for line in lines if _step(line) <= start))
    return path.open("a", buffering=1)


def _lines(path: Path) -> list[str]:
    """The lines of the log at ``path``; none if it is missing."""
    return read_text(path, errors="replace").splitlines() if path.exists() else []


def _step(line: str) -> float:
    """The step of a line of the log; infinity if the line is cut off."""
    try:
        return parse_table(line, LOG, "the losses of a step").whole("step", 0)
    except UserError:
        return math.inf


def _differences(about: Mapping[str, Any], found: Table) -> list[str]:
    """The keys in which ``found`` differs from the experiment ``about``, as "seed" or "recipe.lr".

    Keys that do not change the result are ignored.
    """
    own, recipe = found.content, found.table("recipe").content
    others = [key for key, value in about.items() if key != "recipe" and own.get(key) != value]
    ours, theirs = about["recipe"], {**ADDED, **recipe}
    keys = [key for key in {**ours, **theirs} if key not in BITLESS]
    return others + [f"recipe.{key}" for key in keys if ours.get(key) != theirs.get(key)]


def _plain(about: Mapping[str, Any]) -> dict[str, Any]:
    """``about`` with the types that JSON returns."""
    result: dict[str, Any] = json.loads(json.dumps(about))
    return result
