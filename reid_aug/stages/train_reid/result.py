"""The record of a re-ID training: its settings, its mix, and the images that its network saw."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from reid_aug import __version__
from reid_aug.backbones import torchreid_library
from reid_aug.backbones.checkpoint import MODEL_FORMAT
from reid_aug.backbones.feature_networks import OWN_WEIGHTS, own_weights_sha256
from reid_aug.backbones.timm_networks import TIMM, timm_library
from reid_aug.bank import BankAttributes
from reid_aug.data.dataset import Dataset
from reid_aug.data.provenance import (
    DIGITS,
    LeakStatus,
    dataset_sha256,
    fingerprints,
    is_leak_free,
    joined_fingerprints,
    leak_status,
    names_sha256,
    recorded_fingerprints,
)
from reid_aug.mixing import Mix
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.runtime.weights import read_tensors
from reid_aug.stages.train_reid.settings import TrainReidConfig


def experiment(mix: Mix, dataset: Dataset, config: TrainReidConfig, seed: int) -> dict[str, Any]:
    """Everything that a training depends on; results that agree in it are the same result."""
    return {
        "mode": mix.mode,
        "ratio": mix.ratio,
        "keep": mix.keep,
        "keep_seed": mix.keep_seed,
        "seed": seed,
        "backbone": config.backbone,
        "recipe": asdict(replace(config, weights=Path(config.weights).name)),
        "starting_weights": _weights_sha256(config),
        "kept_sha256": names_sha256(mix.real),
        "dataset_sha256": dataset_sha256(dataset),
        "rows_sha256": mix.rows_sha256(),
        "min_score": mix.min_score or None,
    }


def _weights_sha256(config: TrainReidConfig) -> str | None:
    """SHA-256 of the file of the starting weights, or of a registered network's own weights."""
    if config.weights == OWN_WEIGHTS:
        return own_weights_sha256(config.backbone, config.height, config.width)
    return sha256(config.weights) if config.weights else None


def mix_fields(mix: Mix, starting_status: str | None, config: TrainReidConfig) -> dict[str, Any]:
    """The fields of a result about its mix, its starting weights and its leak status.

    Args:
        starting_status: the leak status of the starting weights (:func:`starting_data`).
    """
    used = mix.bank if mix.generated else None
    status = used.attributes.generator_data if used else None
    return {
        "real": len(mix.real),
        "generated": mix.generated,
        "method": used.plan.method if used else None,
        "cameras": used.plan.cameras if used else None,
        "background": used.plan.background if used else None,
        "poses": used.plan.poses if used else None,
        "poses_sha256": used.plan.poses_sha256 if used else None,
        "generator_data": status,
        "generator_sha256": used.attributes.generator_sha256 if used else None,
        "starting_data": starting_status,
        "pre_trained_from": _weights_before(config),
        "leak_free": is_leak_free((status, starting_status, *scorers(mix))),
        "bank_sha256": used.file_sha256() if used else None,
    }


def scorers(mix: Mix) -> list[str]:
    """The leak status of each network whose scores filter the bank."""
    return [about["data"] for about in mix.min_score.values()]


def starting_data(mix: Mix, dataset: Dataset, config: TrainReidConfig) -> str | None:
    """The leak status of the starting weights; None if the training starts from scratch.

    Weights without a record of the images that trained them have the status that ``weights_data``
    declares, or else "whole", which is not leak-free. Networks of train-reid carry that record.

    Raises:
        UserError: If the weights were trained on test images, or if their record contradicts
            ``weights_data``.
    """
    if not config.weights:
        return None
    recorded, declared = _fingerprints_before(config), config.weights_data
    if recorded is None and declared:
        return declared
    data = leak_status(recorded or "", dataset, mix.real, "network of train_reid.weights")
    if declared and data != declared:
        raise UserError(
            f"{config.weights}: its own notes must not contradict train_reid.weights_data, "
            f"{declared!r}, got {data!r}; leave weights_data out, since the notes count"
        )
    return data


def _fingerprints_before(config: TrainReidConfig) -> str | None:
    """The fingerprints in starting weights of train-reid, "" if unknown; None for other weights."""
    metadata = _notes_of_weights(config)
    return None if metadata is None else recorded_fingerprints(metadata)


def _weights_before(config: TrainReidConfig) -> str | None:
    """SHA-256 of the weights from which the network of the starting weights was trained.

    None for random weights, for weights that are not of train-reid, and where nothing is recorded.
    """
    found = (_notes_of_weights(config) or {}).get("starting_weights")
    return found if isinstance(found, str) else None


def _notes_of_weights(config: TrainReidConfig) -> dict[str, Any] | None:
    """The metadata of starting weights of train-reid; None for other weights or none."""
    if not config.weights.endswith(".safetensors"):
        return None
    metadata = read_tensors(config.weights)[1]
    return metadata if metadata.get("format") == MODEL_FORMAT else None


def trained_on(mix: Mix, config: TrainReidConfig) -> str:
    """The fingerprints of all images that train a network; "" if they are not all known.

    They are those of the kept set, of the generator whose images train the network, and of the
    starting weights. What is declared external, without a record, stands for one fingerprint that
    belongs to no image. A bank does not record which images trained the networks of its scores, so
    these must have trained on kept images only.
    """
    parts: list[str | None] = [fingerprints(mix.real)]
    if mix.bank and mix.generated:
        parts.append(_generator_trained_on(mix.bank.attributes))
    if config.weights:
        before = _fingerprints_before(config)
        is_declared = before is None and config.weights_data
        parts.append((_weights_sha256(config) or "")[:DIGITS] if is_declared else before or "")
    if not {*scorers(mix)} <= {LeakStatus.KEPT}:
        parts.append("")
    return joined_fingerprints(part for part in parts if part is not None)


def _generator_trained_on(bank: BankAttributes) -> str | None:
    """The fingerprints of a bank's generator; "" if unknown, None if it saw kept images only."""
    if bank.generator_data == LeakStatus.KEPT:
        return None
    is_declared = bank.generator_data == LeakStatus.EXTERNAL  # as that of an import
    return bank.trained_on or (bank.generator_sha256[:DIGITS] if is_declared else "")


def versions(backbone: str) -> dict[str, str]:
    """The versions of the packages that a result with this backbone depends on."""
    others = {"timm": timm_library().__version__} if backbone.startswith(TIMM) else {}
    return {
        "reid_aug": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "torchreid": torchreid_library().__version__,
        "numpy": np.__version__,
        **others,
    }
