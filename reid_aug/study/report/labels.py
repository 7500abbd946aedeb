"""Labels: every word that a reader of a report sees about a row or a table, made from its key."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reid_aug.bank.methods import find_method
from reid_aug.bank.plan import POSE_FILE
from reid_aug.generator import DEMO_ORIGIN, demo_generator
from reid_aug.runtime.files import sha256
from reid_aug.stages.train_reid.settings import PLAIN, describe_preset
from reid_aug.study.report.keys import (
    DECLARED,
    RANDOM,
    UNKNOWN,
    ImagesKey,
    RowKey,
    StartKey,
    TrainingKey,
    UsualStart,
)
from reid_aug.study.report.results import Result, TableKey

NONE = "-"
WITHOUT_CAMERAS = "evaluated without camera labels"
LEAK_STATUSES = {"kept": "of the kept set", "whole": "that may know left-out images"}
START_LABELS = {
    RANDOM: "from scratch",
    "external": "pre-trained on external data",
    "kept": "pre-trained on the kept set",
    "whole": "starting weights that may know left-out images",
    DECLARED: "starting weights declared external",
}


def images(key: ImagesKey | None) -> str:
    """What made the generated images of a row; "-" without any."""
    if key is None:
        return NONE
    parts = [_method(key)]
    if key.is_target_camera:
        parts.append("target's camera")
    if key.has_target_background:
        parts.append("target's background")
    if key.poses != "random":
        digest = f" {key.poses_sha256[:8]}" if key.poses == POSE_FILE and key.poses_sha256 else ""
        parts.append(f"poses {key.poses}{digest}")
    for limit in key.min_score:
        by = f" (by a network {LEAK_STATUSES['whole']})" if limit.leak_status else ""
        parts.append(f"{limit.name} {limit.least:g} or more{by}")
    text = ", ".join(parts)
    if key.generator is None:
        return text
    return f"{text} ({'not noted which' if key.generator == UNKNOWN else key.generator[:8]})"


def _method(key: ImagesKey) -> str:
    method = find_method(key.method)  # None for images of other software
    name = method.label if method else key.method
    known = LEAK_STATUSES.get(key.leak_status or "")
    if not known:
        return name
    return f"{name} {known}" if method else f"{name} (generator {known})"


def training(key: TrainingKey) -> str:
    """What a training does that a plain one does not, and what it starts from."""
    return ", ".join([*_changes(key), start(key.start)])


def _changes(key: TrainingKey) -> list[str]:
    """What a training does that a plain one does not."""
    settings = {"preset": key.preset, **dict(key.deviations), **dict(key.policy)}
    return describe_preset(settings, 1.0)  # the policy of a row without images is empty


def start(key: StartKey) -> str:
    """What is known of starting weights, and of which file where that is not enough."""
    digest = f" ({key.sha256[:8]})" if key.sha256 else ""
    before = f" (from {key.before[:8]})" if key.before else ""
    return START_LABELS[key.leak_status] + digest + before


def row_training(key: RowKey) -> str:
    """What a training does that a plain one does not, its start, and whether cameras are known."""
    parts = (
        [training(key.training)] if key.has_cameras else [training(key.training), WITHOUT_CAMERAS]
    )
    return ", ".join(parts)


def what(key: RowKey, usual: UsualStart | None = None) -> str:
    """What a row adds to plain training on real images, or changes in it.

    Args:
        usual: the start that the title of the section names.
    """
    parts = [images(key.images)] if key.images else []
    if key.mode == "replace":
        parts.append("replacing real images")
    parts = [*parts, *_changes(key.training)] or ["real images only"]
    if usual is None or key.training.start != usual.start:
        parts.append(start(key.training.start))
    return ", ".join(parts if key.has_cameras else [*parts, WITHOUT_CAMERAS])


def keep(key: RowKey) -> str:
    """The kept set of a row."""
    if key.keep_seed is None:
        return f"{key.keep:g} (replicates)"
    seed = f" (keep seed {key.keep_seed})" if key.keep_seed else ""
    return f"{key.keep:g}{seed}"


def section(key: RowKey, usual: UsualStart | None = None) -> str:
    """What the rows of a section share: backbone, kept set, preset and starting weights."""
    preset = key.training.preset
    named = f", {preset} training" if preset != PLAIN else ""
    others = "" if usual is None or usual.is_shared else " where no other start is named"
    started = f", {start(usual.start)}{others}" if usual else ""
    return f"{key.backbone}, keep {keep(key)}{named}{started}"


def notes(results: Iterable[Result]) -> list[str]:
    """What a reader must know about single generators of some results, one sentence or two each."""
    used = {result.generator_sha256 for result in results}
    is_demo = bool(used - {None}) and sha256(demo_generator()) in used
    return [f"The generator of the package was {DEMO_ORIGIN}."] if is_demo else []


def captions(tables: Mapping[TableKey, Sequence[Result]]) -> dict[TableKey, str]:
    """What all rows of a table share, for every table; a hash tells equal ones apart."""
    texts = {key: caption(key, group[0]) for key, group in tables.items()}
    equal = Counter(texts.values())
    return {
        key: f"{text} (SHA-256 {key.dataset_sha256[:8]})" if equal[text] > 1 else text
        for key, text in texts.items()
    }


def dataset(result: Result) -> str:
    """The data set of a result by its name and its counts."""
    name = result.dataset or f"data set {result.dataset_sha256[:8]}"
    if result.queries is None or result.gallery is None:
        return name
    return f"{name} ({result.queries} queries, {result.gallery} gallery images)"


def caption(key: TableKey, first: Result) -> str:
    """What all rows of a table share.

    Args:
        first: any result of the table.
    """
    settings: dict[str, Any] = dict(key.settings)
    size, steps = f"{settings.pop('height')}x{settings.pop('width')}", settings.pop("steps")
    batch = settings.pop("batch")
    others = ", ".join(f"{name} {value}" for name, value in settings.items())
    return f"{dataset(first)}; {steps} steps of {batch} images, input {size}, {others}"
