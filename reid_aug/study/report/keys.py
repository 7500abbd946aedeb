"""Keys: what the trainings of one row of a table share, as fields that code compares.

Two trainings stand in one row where their :class:`RowKey` is equal, and the baseline of a row is
found by replacing fields of its key. The words that a reader sees are made from a key by
:mod:`reid_aug.study.report.labels`; nothing here is read back out of such words.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reid_aug.bank.methods import DEFAULT_METHOD, find_method
from reid_aug.stages.train_reid.settings import PLAIN, PRESETS, caption_keys
from reid_aug.study.report.results import SETTINGS, Result, ScoreLimit

UNKNOWN, WHOLE, DECLARED, RANDOM = "unknown", "whole", "declared", "random"
POLICY_KEYS = tuple(key for key in SETTINGS if key.startswith("generated_"))
Settings = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ImagesKey:
    """How the generated images of a row are made and chosen."""

    method: str
    is_target_camera: bool  # whether an image shows the camera of its target
    has_target_background: bool  # whether it has the background of its target
    poses: str
    poses_sha256: str | None  # of the file of given poses
    leak_status: str | None  # of the generator; None where it is external or there is none
    min_score: tuple[ScoreLimit, ...]
    # sha256 of the generator, UNKNOWN where a result lacks it; None where one generator made all
    # images that the other fields describe
    generator: str | None = None


@dataclass(frozen=True, slots=True)
class StartKey:
    """The weights that a training starts from."""

    # one of STATUSES; DECLARED: external by declaration only; RANDOM: a training from scratch
    leak_status: str
    sha256: str | None = None  # None where the leak status is known, so that seeds share a row
    before: str | None = None  # sha256 of the weights that a pre-training started from, if any


SCRATCH = StartKey(RANDOM)


@dataclass(frozen=True, slots=True)
class UsualStart:
    """The start that the title of a section names."""

    start: StartKey
    is_shared: bool  # whether all rows of the section start from it


@dataclass(frozen=True, slots=True)
class TrainingKey:
    """How a training differs from a plain one on the same images."""

    preset: str = PLAIN
    deviations: Settings = ()  # settings that differ from those of the preset
    policy: Settings = ()  # treatment of generated images, where it is not the usual one
    start: StartKey = SCRATCH


@dataclass(frozen=True, slots=True)
class RowKey:
    """What the trainings of one row share. They differ in their seed or replicate only."""

    backbone: str
    keep: float
    keep_seed: int | None  # None in a row of replicates, each of which has a kept set of its own
    mode: str  # "" without generated images
    ratio: float
    images: ImagesKey | None  # None without generated images
    training: TrainingKey
    has_cameras: bool = True  # False where the evaluation ignores nothing but the query itself

    @property
    def section(self) -> tuple[str, float, int | None, str]:
        """What a row shares with its baseline: the network, the kept set and the preset."""
        return self.backbone, self.keep, self.keep_seed, self.training.preset

    @property
    def kind(self) -> tuple[str, ImagesKey | None, TrainingKey]:
        """What a row shares with those of other networks, kept sets and ratios."""
        return self.mode, self.images, self.training

    def baselines(self) -> Iterator["RowKey"]:
        """The keys of trainings on real images that the row is compared with, the best first.

        The first is the preset without deviations, from scratch. The second starts from the weights
        from which the starting weights were pre-trained, if there are such. The third starts from
        the same weights. The fourth deviates from the preset as the row does, too.
        """
        own = replace(self.training, policy=())
        real = replace(self, mode="", ratio=0.0, images=None, training=own)
        yield replace(real, training=TrainingKey(own.preset))
        if own.start.before:
            first = StartKey(DECLARED, own.start.before)
            yield replace(real, training=TrainingKey(own.preset, start=first))
        yield replace(real, training=replace(own, deviations=()))
        yield real


def row_key(result: Result) -> RowKey:
    """The key of the row that a result belongs to."""
    return RowKey(
        result.backbone,
        result.keep,
        result.keep_seed if result.replicate is None else None,
        result.mode if result.ratio else "",
        result.ratio,
        _images_key(result) if result.ratio else None,
        training_key(result),
        result.has_cameras,
    )


def _images_key(result: Result) -> ImagesKey:
    return images_key(
        method=result.method,
        cameras=result.cameras,
        background=result.background,
        poses=result.poses,
        poses_sha256=result.poses_sha256,
        leak_status=result.generator_leak_status,
        min_score=result.min_score,
    )


def images_key(
    method: str | None,
    cameras: str | None,
    background: str | None,
    poses: str | None,
    poses_sha256: str | None,
    leak_status: str | None,
    min_score: tuple[ScoreLimit, ...] = (),
) -> ImagesKey:
    """The key of images with some properties, each None where a file lacks it."""
    name = method or DEFAULT_METHOD
    found = find_method(name)  # None for images of other software
    has_generator = (found is None or found.needs_checkpoint) and leak_status != "external"
    limits = (
        replace(limit, leak_status=WHOLE if limit.leak_status == WHOLE else None)
        for limit in min_score
    )
    return ImagesKey(
        name,
        cameras == "target",
        background == "target",
        poses or "random",
        poses_sha256,
        leak_status if has_generator else None,
        tuple(limits),
    )


def training_key(result: Result) -> TrainingKey:
    """The key of a result's training."""
    preset = result.recipe.get("preset", PLAIN)
    usual = {**SETTINGS, **PRESETS[preset]}
    settings = {**usual, **result.recipe}
    shared = caption_keys(settings)
    deviations = _others(settings, usual, [key for key in PRESETS[preset] if key not in shared])
    policy = _others(settings, usual, POLICY_KEYS) if result.ratio else ()
    return TrainingKey(preset, deviations, policy, _start_key(result))


def _others(settings: Mapping[str, Any], usual: Mapping[str, Any], keys: Any) -> Settings:
    return tuple((key, settings[key]) for key in keys if settings[key] != usual[key])


def _start_key(result: Result) -> StartKey:
    if not result.starting_weights:
        return SCRATCH
    if result.recipe.get("weights_data"):
        return StartKey(DECLARED, result.starting_weights)
    leak_status = result.starting_leak_status or WHOLE
    digest = result.starting_weights if leak_status == WHOLE else None
    return StartKey(leak_status, digest, result.pre_trained_from)
