"""The settings of a re-ID training: the recipe's table ``[train_reid]``, and its presets.

A *preset* is a named set of keys. ``plain`` is torchreid's softmax baseline. ``strong`` is the bag
of tricks of Luo et al. (CVPR workshops 2019, arXiv:1903.07071), with the schedule of their 120
epochs as fractions of the steps; the centre loss is left out, and the crop is torchreid's. A key
that the recipe or an option sets keeps its value under every preset. Batch and steps belong to no
preset: they are the same in all rows of a table.

Five keys, ``generated_...``, treat generated images differently from real ones. They have no effect
without generated images.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from reid_aug.data.dataset import check_side
from reid_aug.runtime.errors import UserError, require_at_least

DROPS = {"step": (4, 8), "bot": (4, 7)}  # twelfths of the steps after which the rate is divided
SCHEDULES = ("cosine", *DROPS)
LABELS = ("hard", "smoothed", "uniform")
PLAIN = "plain"

_STRONG: dict[str, Any] = {
    "lr": 3.5e-4,
    "schedule": "bot",
    "warmup": 10 / 120,
    "last_stride": 1,
    "bnneck": True,
    "label_smooth": True,
    "erase": True,
    "instances": 4,
    "triplet_weight": 1.0,
    "triplet_margin": 0.3,
}


@dataclass(frozen=True, slots=True)
class TrainReidConfig:
    """Network, schedule, losses and augmentation; the defaults are torchreid's softmax baseline."""

    backbone: str = "resnet50"
    """Name of the network, as "resnet50" or "timm:vit_small_patch16_224"
    (:mod:`reid_aug.backbones`)."""
    steps: int = 24_000
    """Number of training steps."""
    batch: int = 32
    """Images per step, of all processes together."""
    height: int = 256
    """Height of the input, in pixels."""
    width: int = 128
    """Width of the input, in pixels."""
    lr: float = 3e-4
    """Largest learning rate of Adam."""
    weight_decay: float = 5e-4
    """Weight decay of Adam."""
    beta2: float = 0.999
    """Adam's decay of the mean squared gradients, in [0, 1). torchreid's training script has 0.999;
    the default of its function ``build_optimizer`` is 0.99."""
    schedule: str = "step"
    """Learning rate over the steps: "step" divides it by ten after 1/3 and 2/3 of them, "bot" after
    1/3 and 7/12, and "cosine" lets it fall to 0."""
    label_smooth: bool = True
    """Spread a tenth of each label over all classes."""
    flip: bool = True
    """Mirror half of the images."""
    crop: bool = True
    """Crop the images at random."""
    erase: bool = False
    """Erase a rectangle of the images at random."""
    weights: str = ""
    """Path of the starting weights; "" means random weights, and "own" those of a network that was
    registered with weights (:func:`reid_aug.register_backbone`)."""
    weights_data: str = ""
    """Leak status of starting weights without a record of their training images: "external"
    declares that no image of the data set trained them, as with ImageNet; "" declares nothing."""
    workers: int = 0
    """Processes that load images; 0 means the training process itself."""
    preset: str = PLAIN
    """Named set of keys: "plain" (softmax baseline) or "strong" (bag of tricks)."""
    warmup: float = 0.0
    """First fraction of the steps, in which the learning rate rises linearly, in [0, 1)."""
    last_stride: int = 0
    """1 removes the stride of the last stage of a ResNet or of BN-Inception; 0 leaves it."""
    bnneck: bool = False
    """Put a batch norm between features and classifier."""
    instances: int = 0
    """Images per identity in a batch; 0 means shuffled batches."""
    triplet_weight: float = 0.0
    """Weight of the triplet loss on the hardest pairs of a batch; 0 turns it off."""
    triplet_margin: float = 0.3
    """Margin of the triplet loss, as a Euclidean distance of features."""
    bf16: bool = False
    """Compute in bfloat16 where that is safe."""
    generated_label: str = LABELS[0]
    """Label of a generated image: "hard", its identity like a real image; "smoothed", its identity
    with a tenth spread over all classes, while real images have hard labels; "uniform", equal over
    all classes (LSRO)."""
    generated_weight: float = 1.0
    """Weight of a generated image in the identity loss; a real image has 1."""
    generated_triplet: bool = True
    """Use generated images in the triplet loss."""
    generated_share: float = 0.0
    """Fraction of each batch that is generated, in [0, 1); 0 means as in the shuffled mix."""

    def __post_init__(self) -> None:
        require_at_least(self, 1, "steps")
        require_at_least(self, 2, "batch")
        for key in ("height", "width"):
            check_side(key, getattr(self, key))
        require_at_least(self, 0, "workers", "weight_decay", "triplet_weight", "triplet_margin")
        for key in ("lr", "generated_weight"):
            if not 0 < getattr(self, key) < math.inf:
                raise UserError(f"{key} must be above 0, got {getattr(self, key)}")
        for key in ("beta2", "warmup", "generated_share"):
            if not 0 <= getattr(self, key) < 1:
                raise UserError(
                    f"{key} must be a part, at least 0 and below 1, got {getattr(self, key)}"
                )
        self._require("schedule", SCHEDULES)
        self._require("preset", PRESETS)
        self._require("generated_label", LABELS)
        self._require("last_stride", (0, 1))
        self._check_weights()
        self._check_batches()
        if self.generated_label == "smoothed" and self.label_smooth:
            raise UserError(
                "generated_label must be hard or uniform with label_smooth = true, which smooths "
                "all labels alike, got 'smoothed'; set label_smooth = false"
            )

    def _require(self, key: str, choices: Collection[Any]) -> None:
        value = getattr(self, key)
        if value not in choices:
            raise UserError(f"{key} must be one of {', '.join(map(str, choices))}, got {value!r}")

    def _check_weights(self) -> None:
        if self.weights_data not in ("", "external"):
            raise UserError(f"weights_data must be external or empty, got {self.weights_data!r}")
        if self.weights_data and not self.weights:
            raise UserError(
                f"weights_data must be empty if no weights are given, got "
                f"{self.weights_data!r}; name their file by the key weights"
            )

    def _check_batches(self) -> None:
        if self.instances and (self.instances < 2 or self.batch % self.instances):
            raise UserError(
                f"instances must be 0 or a divisor of batch ({self.batch}) that is 2 or more, "
                f"got {self.instances}"
            )
        if self.triplet_weight and not 0 < self.instances < self.batch:
            raise UserError(
                f"triplet_weight must be 0 unless a batch has several images of several "
                f"people, got {self.triplet_weight:g}; set instances = 4 and a larger batch"
            )
        group = self.instances or self.batch
        drawn = self.generated_share * group
        if self.generated_share and not 0 < round(drawn) < group:
            raise UserError(f"generated_share must leave both kinds in {group} images, got {drawn}")
        if self.instances and abs(drawn - round(drawn)) > 1e-9:
            raise UserError(
                f"generated_share must be a whole number of the {group} images of an identity, "
                f"got {self.generated_share:g} of them"
            )

    @property
    def warmup_steps(self) -> int:
        """Number of steps in which the learning rate rises."""
        return round(self.warmup * self.steps)

    def rate(self, step: int) -> float:
        """The learning rate at a step (counted from 0), as a factor of ``lr``."""
        rise = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        if self.schedule == "cosine":
            return rise * (1 + math.cos(math.pi * step / self.steps)) / 2
        return rise * 0.1 ** sum(12 * step >= part * self.steps for part in DROPS[self.schedule])


_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(TrainReidConfig)}
PRESETS = {PLAIN: {key: _DEFAULTS[key] for key in _STRONG}, "strong": _STRONG}


def preset_keys(name: str, given: Collection[str]) -> dict[str, Any]:
    """The keys that a preset sets, without those in ``given`` ("train_reid.key")."""
    return {k: v for k, v in PRESETS[name].items() if f"train_reid.{k}" not in given}


def marks_of(preset: str, label: str, ratio: float) -> list[str]:
    """The parts of a folder name that distinguish a training from a plain one.

    >>> marks_of("strong", "uniform", 1.0), marks_of("plain", "uniform", 0.0)
    (['strong', 'uniform'], [])
    """
    marks = {preset: preset != PLAIN, label: label != LABELS[0] and ratio > 0}
    return [mark for mark, is_set in marks.items() if is_set]


_WORDS = {
    "erase": "random erasing",
    "bnneck": "BNNeck",
    "last_stride": "last stride",
    "warmup": "warm-up",
    "instances": "images per identity",
    "triplet_weight": "triplet weight",
    "triplet_margin": "triplet margin",
}
_IN_CAPTIONS = (
    "lr",
    "schedule",
    "label_smooth",
)  # of tables, because all trainings of a table share them
_POLICIES = {
    "generated_label": "generated labels {}",
    "generated_weight": "generated weight {:g}",
    "generated_triplet": "no generated triplets",
    "generated_share": "generated share {:g}",
}


def describe_preset(recipe: Mapping[str, Any], ratio: float) -> list[str]:
    """The differences of a training from a plain one: the preset, then every deviation from it.

    Args:
        recipe: the ``recipe`` of a result; one of an older version has fewer keys.

    >>> describe_preset({"preset": "strong", "erase": False, "generated_share": 0.5}, 1.0)
    ['strong', 'no random erasing', 'generated share 0.5']
    """
    name = recipe.get("preset", PLAIN)
    words = [name] if name != PLAIN else []
    for key, usual in PRESETS[name].items():
        value = recipe.get(key, usual)
        if key not in _IN_CAPTIONS and value != usual:
            is_bool = isinstance(value, bool)
            words.append(
                ("" if value else "no ") + _WORDS[key] if is_bool else f"{_WORDS[key]} {value:g}"
            )
    for key, text in _POLICIES.items():
        if ratio and recipe.get(key, _DEFAULTS[key]) != _DEFAULTS[key]:
            words.append(text.format(recipe[key]))
    return words


def caption_keys(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a result's recipe for the caption of its table, as in a plain training.

    The row names the preset and the leak status of the starting weights, so a key appears here with
    its own value only if that differs from the preset. ``bf16`` and ``beta2`` appear only if they
    differ from their defaults.
    """
    recipe = {key: recipe[key] for key in _DEFAULTS if key in recipe} | dict(recipe)
    new = PRESETS[PLAIN].keys() | _POLICIES.keys() | {"preset", "weights_data"}
    new |= {key for key in ("bf16", "beta2") if recipe.get(key) == _DEFAULTS[key]}
    name = recipe.get("preset", PLAIN)
    kept = {key: recipe[key] for key in recipe if key not in new or key in _IN_CAPTIONS}
    implied = {key for key in _IN_CAPTIONS if recipe.get(key) == PRESETS[name][key]}
    return {k: PRESETS[PLAIN][k] if k in implied else v for k, v in kept.items()}
