"""Results as trainings left them: every ``result.json`` below a run folder, checked.

Each knows its ``file``, beside which its network lies.

A file that is no result, or a damaged one, does not hide the others: they are found, and it is
named. Whoever asks for all of them (:func:`read_results`) is told of the first such file instead.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reid_aug.data.dataset import NAME
from reid_aug.evaluation import RESULT_FORMAT
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.stages.train_reid.settings import caption_keys

NEEDED: dict[str, Any] = {
    "mAP": float, "rank1": float, "backbone": str, "keep": int | float, "keep_seed": int,
    "mode": str, "ratio": int | float, "real": int, "generated": int, "seed": int, "recipe": dict,
    "generator_data": str | None, "starting_weights": str | None, "dataset_sha256": str,
}  # fmt: skip
SINCE: dict[str, Any] = {  # results of older versions have none of them
    "method": str | None, "cameras": str | None, "poses": str | None, "starting_data": str | None,
    "min_score": dict | None, "ap": dict | None, "rank5": float | None, "rank10": float | None,
    "mINP": float | None, "queries": int | None, "gallery": int | None,
    "leak_free": bool | None, "versions": dict | None, "kept_sha256": str | None,
    "bank_sha256": str | None, "rows_sha256": str | None, "device": str | None,
    "generator_sha256": str | None,
}  # fmt: skip
SCORES = ("mAP", "rank1", "rank5", "rank10", "mINP")
UNCOUNTED = ("backbone", "workers", "weights")  # settings that may differ in a table

Result = dict[str, Any]


def read_results(folder: Path) -> list[Result]:
    """Every ``result.json`` below a run folder, sorted by path.

    Raises:
        UserError: If there is none, or one is damaged.
    """
    results, faults = find_results(folder)
    if faults:
        raise UserError(faults[0])
    return results


def find_results(folder: Path) -> tuple[list[Result], list[str]]:
    """The sound results below a run folder, sorted by path, and one sentence for each other file.

    Raises:
        UserError: If there is no sound one.
    """
    if not folder.is_dir():
        remedy = Remedy(("demo",), words="make one with")
        raise UserError(f"{folder}: there is no such run folder", remedy)
    results, faults = [], []
    for path in sorted(folder.rglob("result.json")):
        try:
            results.append(_read(path))
        except UserError as error:
            faults.append(str(error))
    if not results:
        if faults:
            raise UserError(faults[0])
        remedy = Remedy(("train-reid",), words="make one with")
        raise UserError(f"{folder}: holds no result.json", remedy)
    return results, faults


def _read(path: Path) -> Result:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        found = result["format"]
        sound = _fits(result)
        settings_of(result)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: must be a result of train-reid; remove the file") from None
    if found != RESULT_FORMAT or not sound:
        raise UserError(f"{path}: must be a {RESULT_FORMAT}, got {found!r}; remove it")
    return {**result, "file": str(path)}


def _fits(result: Result) -> bool:
    """Whether all that a table asks of a result is there, of its kind and in its range."""
    kinds = all(isinstance(result[key], kind) for key, kind in NEEDED.items())
    kinds &= all(isinstance(result.get(key), kind) for key, kind in SINCE.items())
    if not kinds:
        return False
    scores = [result[name] for name in SCORES if result.get(name) is not None]
    scores += [ap for ap in (result.get("ap") or {}).values() if ap is not None]
    names = all(NAME.match(name) for name in result.get("ap") or {})
    numbers = [value["least"] for value in (result.get("min_score") or {}).values()]
    numbers += [result["keep"], result["ratio"], result["recipe"]["erase"]]
    return names and all(0 <= score <= 1 for score in scores) and all(map(math.isfinite, numbers))


def settings_of(result: Result) -> str:
    """What all rows of a table have in common, as its caption."""
    shared = caption_keys(result["recipe"])
    recipe = {key: value for key, value in shared.items() if key not in UNCOUNTED}
    size, length = f"{recipe.pop('height')}x{recipe.pop('width')}", recipe.pop("steps")
    images = recipe.pop("batch")
    others = ", ".join(f"{key} {value}" for key, value in recipe.items())
    data = f"data set {result['dataset_sha256'][:8]}"
    return f"{length} steps of {images} images, input {size}, {data}, {others}"


def tables_of(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Results that share their settings, by these settings, sorted: those of one table."""
    groups: defaultdict[str, list[Result]] = defaultdict(list)
    for result in results:
        groups[settings_of(result)].append(result)
    return dict(sorted(groups.items()))
