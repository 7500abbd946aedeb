"""Results of trainings: every ``result.json`` below a run folder, read into checked records.

:func:`result_from` is the only place that reads the keys of a ``result.json``. All other code of
the report uses the fields of :class:`Result`.

A file that is not a result, or a damaged one, does not hide the others. :func:`find_results`
returns the sound results and one sentence per faulty file; :func:`read_results` raises the first
such sentence.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from reid_aug.data.formats import is_dataset
from reid_aug.data.provenance import STATUSES
from reid_aug.evaluation import RESULT_FORMAT
from reid_aug.mixing import MODES
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.records import Table, is_number, read_table
from reid_aug.stages.train_reid.settings import LABELS, PRESETS, TrainReidConfig, caption_keys

SCORES = ("mAP", "rank1", "rank5", "rank10", "mINP")
UNCOUNTED = ("backbone", "workers", "weights")  # settings that may differ within a table
SETTINGS: dict[str, Any] = asdict(TrainReidConfig())  # a value of each key's type
RUNS_LISTED = 8  # run folders that an error lists at most
IN_CAPTIONS = ("steps", "batch", "height", "width")  # settings that every result must have
SETTING_CHOICES = {
    "preset": tuple(PRESETS),
    "generated_label": LABELS,
    "weights_data": ("", "external"),
}


@dataclass(frozen=True, slots=True)
class ScoreLimit:
    """The least score that a generated image needs to be used in a training."""

    name: str
    least: float
    leak_status: str | None  # of the network that gave the score; None where none did


@dataclass(frozen=True, slots=True)
class TableKey:
    """What all trainings of one table share: the data set, and the settings in its caption."""

    dataset_sha256: str
    settings: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Result:
    """One training and its scores. Scores are fractions in [0, 1].

    A field is None where the file lacks the key or holds null: results of older versions lack some
    keys.
    """

    file: str  # path of the result.json; the network lies beside it
    backbone: str
    seed: int
    recipe: Mapping[str, Any]  # the settings of the training, [train_reid]
    keep: float  # part of the real training images, in (0, 1]
    keep_seed: int
    replicate: int | None  # number of the repetition of the whole pipeline; None for none
    mode: str  # "supplement" or "replace"
    ratio: float  # at least 0; 0 without generated images
    real: int  # number of real training images
    generated: int  # number of generated training images
    method: str | None
    cameras: str | None
    background: str | None
    poses: str | None
    poses_sha256: str | None  # of the file of given poses
    min_score: tuple[ScoreLimit, ...]  # sorted by name
    generator_leak_status: str | None
    generator_sha256: str | None
    starting_weights: str | None  # sha256 of the file
    starting_leak_status: str | None
    pre_trained_from: str | None  # sha256 of the weights before the starting weights
    leak_free: bool | None
    dataset: str | None  # name
    dataset_sha256: str
    kept_sha256: str | None
    rows_sha256: str | None
    bank_sha256: str | None
    mAP: float  # noqa: N815
    rank1: float
    rank5: float | None
    rank10: float | None
    mINP: float | None  # noqa: N815
    ap: Mapping[str, float | None]  # by the file name of the query; None where it does not count
    query_pids: tuple[int, ...] | None  # in the order of ``ap``
    query_camids: tuple[int, ...] | None  # likewise
    has_cameras: bool  # whether the evaluation ignores images of the query's camera
    ap_definition: str | None
    queries: int | None
    gallery: int | None
    classes: int | None  # number of training identities
    seconds: float | None  # time of training and evaluation
    threads: int | None
    processes: int | None
    device: str | None
    versions: Mapping[str, str]

    @property
    def table(self) -> TableKey:
        """What the result has in common with the other rows of its table."""
        shared = caption_keys(self.recipe)
        settings = tuple((key, shared[key]) for key in shared if key not in UNCOUNTED)
        return TableKey(self.dataset_sha256, settings)


def result_from(content: Mapping[str, Any], file: str) -> Result:
    """The result that a ``result.json`` holds, with every field checked.

    Args:
        content: what the file holds.
        file: its path, for errors and for :attr:`Result.file`.

    Raises:
        UserError: If a key is missing, or its value has another type or lies outside its range.
    """
    whole = Table(content, file)
    whole.text("format", (RESULT_FORMAT,))
    return Result(
        file=file,
        **_training_fields(whole),
        **_image_fields(whole),
        **_score_fields(whole),
        **_origin_fields(whole),
    )


def _training_fields(whole: Table) -> dict[str, Any]:
    return {
        "backbone": whole.text("backbone"),
        "seed": whole.whole("seed"),
        "recipe": _recipe(whole.table("recipe")),
        "starting_weights": whole.nullable_text("starting_weights"),
        "starting_leak_status": whole.optional_text("starting_data", STATUSES),
        "pre_trained_from": whole.optional_text("pre_trained_from"),
    }


def _image_fields(whole: Table) -> dict[str, Any]:
    return {
        "keep": whole.fraction("keep"),
        "keep_seed": whole.whole("keep_seed"),
        "replicate": whole.optional_count("replicate"),
        "mode": whole.text("mode", MODES),
        "ratio": whole.number("ratio", 0.0),
        "real": whole.whole("real", 0),
        "generated": whole.whole("generated", 0),
        "method": whole.optional_text("method"),
        "cameras": whole.optional_text("cameras"),
        "background": whole.nullable_text("background") if whole.has("background") else None,
        "poses": whole.optional_text("poses"),
        "poses_sha256": whole.optional_text("poses_sha256"),
        "min_score": _limits(whole.table("min_score")) if whole.has("min_score") else (),
        "generator_leak_status": whole.nullable_text("generator_data", STATUSES),
        "generator_sha256": whole.optional_text("generator_sha256"),
    }


def _score_fields(whole: Table) -> dict[str, Any]:
    return {
        "mAP": whole.fraction("mAP"),
        "rank1": whole.fraction("rank1"),
        "rank5": whole.optional_fraction("rank5"),
        "rank10": whole.optional_fraction("rank10"),
        "mINP": whole.optional_fraction("mINP"),
        "ap": _ap(whole.table("ap")) if whole.has("ap") else {},
        "query_pids": _numbers_of_queries(whole, "query_pids"),
        "query_camids": _numbers_of_queries(whole, "query_camids"),
        "has_cameras": whole.truth("has_cameras") if whole.has("has_cameras") else True,
        "ap_definition": whole.optional_text("ap_definition"),
        "queries": whole.optional_count("queries"),
        "gallery": whole.optional_count("gallery"),
    }


def _origin_fields(whole: Table) -> dict[str, Any]:
    versions = whole.table("versions") if whole.has("versions") else None
    return {
        "leak_free": whole.truth("leak_free") if whole.has("leak_free") else None,
        "dataset": whole.optional_text("dataset"),
        "dataset_sha256": whole.text("dataset_sha256"),
        "kept_sha256": whole.optional_text("kept_sha256"),
        "rows_sha256": whole.optional_text("rows_sha256"),
        "bank_sha256": whole.optional_text("bank_sha256"),
        "classes": whole.optional_count("classes"),
        "seconds": whole.number("seconds", 0.0) if whole.has("seconds") else None,
        "threads": whole.optional_count("threads"),
        "processes": whole.optional_count("processes"),
        "device": whole.optional_text("device"),
        "versions": {name: versions.text(name) for name in versions.content} if versions else {},
    }


def _recipe(table: Table) -> dict[str, Any]:
    """The settings; those that this version knows have the types that it gives them."""
    for key in IN_CAPTIONS:
        table.whole(key, 1)
    table.truth("erase")
    return {key: _setting(table, key) for key in table.content}


def _setting(table: Table, key: str) -> Any:
    value = table.content[key]
    kind: type[Any] = type(SETTINGS.get(key))
    if kind is NoneType:  # a setting of another version
        if isinstance(value, str | bool) or is_number(value):
            return value
        raise table.refused(key, "text, a finite number, true or false")
    if kind is bool:
        return table.truth(key)
    if kind is str:
        return table.text(key, SETTING_CHOICES.get(key, ()))
    return table.whole(key) if kind is int else table.number(key)


def _limits(table: Table) -> tuple[ScoreLimit, ...]:
    found = []
    for name in sorted(table.content):
        limit = table.table(name)
        found.append(ScoreLimit(name, limit.number("least"), limit.optional_text("data", STATUSES)))
    return tuple(found)


def _ap(table: Table) -> dict[str, float | None]:
    for name in table.content:
        if not name or not name.isprintable():
            raise UserError(
                f"{table.file}: a key of ap must be the file name of a query, got {name!r}; "
                f"remove the file"
            )
    return {name: table.optional_fraction(name) for name in table.content}


def _numbers_of_queries(whole: Table, name: str) -> tuple[int, ...] | None:
    if not whole.has(name):
        return None
    numbers, queries = whole.content[name], whole.content.get("ap")
    is_list = isinstance(numbers, list) and all(type(number) is int for number in numbers)
    if not is_list or not isinstance(queries, dict) or len(numbers) != len(queries):
        raise whole.refused(name, "one whole number per query")
    return tuple(numbers)


def read_results(folder: Path) -> list[Result]:
    """Read every ``result.json`` below a run folder, sorted by path.

    Raises:
        UserError: If there is none, or one is damaged.
    """
    results, faults = find_results(folder)
    if faults:
        raise UserError(faults[0])
    return results


def find_results(folder: Path) -> tuple[list[Result], list[str]]:
    """The sound results below a run folder, sorted by path, and one sentence per other file.

    Raises:
        UserError: If no result is sound.
    """
    if folder.is_file():
        own = next((up.parent for up in folder.parents if up.name == "reid"), folder.parent)
        remedy = Remedy(("report", str(own)), words="print its tables with")
        is_result = folder.name == "result.json"
        raise UserError(
            f"{folder}: RUN must be a run folder, got a file", remedy if is_result else None
        )
    if not folder.is_dir():
        remedy = Remedy(("demo",), {"out": str(folder)}, words="make one with")
        raise UserError(f"{folder}: there is no such run folder{_beside(folder)}", remedy)
    results, faults = [], []
    for path in sorted(folder.rglob("result.json")):
        try:
            results.append(_read(path))
        except UserError as error:
            faults.append(str(error))
    if not results:
        if faults:
            raise UserError(faults[0])
        if is_dataset(folder):
            raise UserError(f"{folder}: must be a run folder, got a data set; name that of --out")
        remedy = Remedy(("train-reid",), {"ratio": "0", "out": str(folder)}, words="make one with")
        raise UserError(f"{folder}: holds no result.json", remedy)
    return results, faults


def _beside(folder: Path) -> str:
    """The run folders where a missing one was expected, as the end of an error; "" without any."""
    parent = folder.parent
    found = sorted(path.parent.name for path in parent.glob("*/recipe.json"))
    if not found:
        return ""
    others = f" and {len(found) - RUNS_LISTED} more" if len(found) > RUNS_LISTED else ""
    return f"; {parent} holds {', '.join(found[:RUNS_LISTED])}{others}"


def _read(path: Path) -> Result:
    content = read_table(path, "a result of train-reid", format_=RESULT_FORMAT).content
    return result_from(content, str(path))


def tables_of(results: Iterable[Result]) -> dict[TableKey, list[Result]]:
    """The results of each table: those on one data set with the same shared settings."""
    groups: defaultdict[TableKey, list[Result]] = defaultdict(list)
    for result in results:
        groups[result.table].append(result)
    return dict(groups)
