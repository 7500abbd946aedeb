"""Train a re-ID network on a mix, evaluate it, and write down what a table needs to know.

torchreid trains: its networks, its softmax engine (one step: loss, gradients, update), its
transforms. The loop around it is ours, because a step here is a step whatever the size of the mix:
steps, batch and schedule are recipe values, the same in all cells of a table. Real and generated
images are one data set, so both show the same identities; torchreid's own way of adding data sets
would make the generated people new ones.

Class labels 0..K-1 exist only in this module. It is also the only one that seeds the global random
generators, since torchreid's transforms draw from them.
"""

import contextlib
import io
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from reid_aug import __version__
from reid_aug.backbones import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    build_backbone,
    load_starting_weights,
    torchreid_library,
)
from reid_aug.dataset import Dataset, verify_images
from reid_aug.errors import UserError
from reid_aug.evaluation import RESULT_FORMAT, Scores
from reid_aug.features import evaluate_model
from reid_aug.files import locked, sha256, write_json
from reid_aug.mixing import Mix
from reid_aug.progress import track
from reid_aug.provenance import dataset_sha256, names_sha256, seen_images, seen_status
from reid_aug.reid_folder import LOG, MODEL, RESULT
from reid_aug.reid_settings import TrainReidConfig
from reid_aug.weights import read_tensors, write_tensors

MODEL_FORMAT = "reid_aug.reid/1"
AP_DEFINITION = "step (mean precision at the hits), ties pessimistic"
LOGGED_EVERY = 10  # steps


class Training(TorchDataset[dict[str, Any]]):
    """The whole mix as one torch data set, with class labels in place of pids."""

    def __init__(self, mix: Mix, transform: Any) -> None:
        self.mix, self.transform = mix, transform
        pids = sorted({image.pid for image in mix.real})
        self.labels = {pid: label for label, pid in enumerate(pids)}

    def __len__(self) -> int:
        return len(self.mix)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pid, camid = self.mix.identity(index)
        return {
            "img": self.transform(Image.fromarray(self.mix.image(index))),
            "pid": self.labels[pid],
            "camid": camid,
            "is_generated": self.mix.is_generated(index),
        }


class Shuffles(Sampler[list[int]]):
    """Exactly ``steps`` batches of indices, drawn from one shuffle of the mix after another."""

    def __init__(self, size: int, batch: int, steps: int, seed: int) -> None:
        self.size, self.batch, self.steps, self.seed = size, batch, steps, seed

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        waiting: list[int] = []
        epoch = 0
        for _ in range(self.steps):
            while len(waiting) < self.batch:
                rng = np.random.default_rng([self.seed, 4, epoch])
                waiting += rng.permutation(self.size).tolist()
                epoch += 1
            yield waiting[: self.batch]
            del waiting[: self.batch]


def train_reid(
    mix: Mix,
    dataset: Dataset,
    config: TrainReidConfig,
    folder: Path,
    seed: int,
    device: torch.device,
) -> Path:
    """Train on ``mix``, evaluate on query and gallery; the path of ``result.json``.

    Writes ``images.txt`` (the exact images used), ``log.jsonl``, ``model.safetensors`` and, last,
    ``result.json`` into ``folder``.

    Raises:
        UserError: If an image does not decode, the backbone or its weights do not fit, or the
            training diverges.
    """
    began = time.time()
    torchreid_library().utils.set_random_seed(seed)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # torchreid moves batches to the current device
    verify_images((*mix.real, *dataset.query, *dataset.gallery))
    train_transform, test_transform = _transforms(config)
    training = Training(mix, train_transform)
    model = build_backbone(config.backbone, len(training.labels), config.height, config.width)
    if config.weights:
        print(f"starting weights: {load_starting_weights(model, config.weights)}", file=sys.stderr)
    about, start = experiment(mix, dataset, config, seed), starting_data(mix, dataset, config)
    with locked(folder):
        names = "".join(f"{mix.name(index)}\n" for index in range(len(mix)))
        (folder / "images.txt").write_text(names)
        _train(model.to(device), training, config, folder, seed, device)
        recipe, seen = about["recipe"], _seen(mix, config)
        notes = {"format": MODEL_FORMAT, "recipe": recipe, "seed": seed, "seen": seen}
        write_tensors(folder / MODEL, model.state_dict(), notes)
        scores = evaluate_model(model, dataset, test_transform, device, loaders(config))
        result = {
            "format": RESULT_FORMAT,
            **_score_fields(scores, dataset),
            **about,
            **_mix_fields(mix, start),
            "steps": config.steps,
            "classes": len(training.labels),
            "parameters": sum(p.numel() for p in model.parameters()),
            "device": str(device),
            "threads": torch.get_num_threads(),
            "seconds": round(time.time() - began, 1),
            "versions": versions(),
        }
        write_json(folder / RESULT, result)
    return folder / RESULT


def experiment(mix: Mix, dataset: Dataset, config: TrainReidConfig, seed: int) -> dict[str, Any]:
    """Everything that a training depends on: two results that agree in it are the same result."""
    return {
        "mode": mix.mode,
        "ratio": mix.ratio,
        "keep": mix.keep,
        "keep_seed": mix.keep_seed,
        "seed": seed,
        "backbone": config.backbone,
        "recipe": asdict(replace(config, weights=Path(config.weights).name)),
        "starting_weights": sha256(config.weights) if config.weights else None,
        "kept_sha256": names_sha256(mix.real),
        "dataset_sha256": dataset_sha256(dataset),
        "rows_sha256": mix.rows_sha256(),
        "min_score": mix.min_score or None,
    }


def _transforms(config: TrainReidConfig) -> tuple[Any, Any]:
    chosen = {"random_flip": config.flip, "random_crop": config.crop, "random_erase": config.erase}
    names = [name for name, is_on in chosen.items() if is_on]
    mean, std = list(IMAGENET_MEAN), list(IMAGENET_STD)
    build = torchreid_library().data.transforms.build_transforms
    with contextlib.redirect_stdout(io.StringIO()):
        return build(config.height, config.width, names, mean, std)


def _engine(
    model: nn.Module, training: Training, config: TrainReidConfig, seed: int, device: torch.device
) -> tuple[Any, DataLoader[Any]]:
    """The softmax engine of torchreid, and the loader of exactly ``steps`` batches."""
    optimiser = torch.optim.Adam(
        model.parameters(), config.lr, weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, config.rate)
    loader = DataLoader(
        training,
        batch_sampler=Shuffles(len(training), config.batch, config.steps, seed),
        num_workers=loaders(config),
        generator=torch.Generator().manual_seed(seed),
    )
    # all that the engine looks at in a data manager
    manager = SimpleNamespace(
        train_loader=loader, test_loader={}, sources=["mix"], num_train_pids=len(training.labels)
    )
    on_gpu = device.type == "cuda"
    engine = torchreid_library().engine.ImageSoftmaxEngine(
        manager, model, optimiser, schedule, on_gpu, config.label_smooth
    )
    return engine, loader


def loaders(config: TrainReidConfig) -> int:
    """How many processes load images: what the recipe asks for, as far as there are cores."""
    return min(config.workers, len(os.sched_getaffinity(0)))


def _train(
    model: nn.Module,
    training: Training,
    config: TrainReidConfig,
    folder: Path,
    seed: int,
    device: torch.device,
) -> None:
    engine, loader = _engine(model, training, config, seed, device)
    engine.set_model_mode("train")
    bar = track(loader, f"train {config.backbone}", config.steps)
    with bar, (folder / LOG).open("w", buffering=1) as log:
        for step, batch in enumerate(bar, 1):
            rate = engine.get_current_lr()
            losses = engine.forward_backward(batch)
            engine.update_lr()
            if not math.isfinite(losses["loss"]):
                raise UserError(
                    f"the loss is no longer a number at step {step}; lower train_reid.lr"
                )
            if step % LOGGED_EVERY == 0 or step == config.steps:
                generated = int(batch["is_generated"].sum())
                line = {"step": step, "lr": rate, **losses, "generated": generated}
                log.write(json.dumps(line) + "\n")
                bar.set_postfix_str(f"loss {losses['loss']:.2f}", refresh=False)


def _score_fields(scores: Scores, dataset: Dataset) -> dict[str, Any]:
    ranks = {f"rank{rank}": float(scores.cmc[rank - 1]) for rank in (1, 5, 10, 20)}
    per_query = zip(dataset.query, scores.ap, strict=True)
    return {
        "mAP": scores.mAP,
        **ranks,
        "mINP": scores.mINP,
        "ap_definition": AP_DEFINITION,
        "queries": int(np.isfinite(scores.ap).sum()),
        "gallery": len(dataset.gallery),
        "ap": {q.name: None if math.isnan(ap) else round(float(ap), 6) for q, ap in per_query},
    }


def _mix_fields(mix: Mix, start: str | None) -> dict[str, Any]:
    used = mix.bank if mix.generated else None
    status = used.attributes["generator_data"] if used else None
    return {
        "real": len(mix.real),
        "generated": mix.generated,
        "artist": used.plan["artist"] if used else None,
        "cameras": used.plan["cameras"] if used else None,
        "poses": used.plan["poses"] if used else None,
        "generator_data": status,
        "starting_data": start,
        "leak_free": "whole" not in (status, start, *scorers(mix)),
        "bank_sha256": sha256(used.path) if used else None,
    }


def scorers(mix: Mix) -> list[str]:
    """What those know of the data set whose scores filtered the bank."""
    return [about["data"] for about in mix.min_score.values()]


def starting_data(mix: Mix, dataset: Dataset, config: TrainReidConfig) -> str | None:
    """What the starting weights know of the data set; None where a training starts from scratch.

    Weights of which nobody noted what they have seen count as "whole": not leak-free.

    Raises:
        UserError: If they were trained on test images.
    """
    if not config.weights:
        return None
    return seen_status(_seen_before(config), dataset, mix.real, "network of train_reid.weights")


def _seen_before(config: TrainReidConfig) -> str:
    """The fingerprints that the starting weights carry; "" where nobody noted them."""
    if not config.weights.endswith(".safetensors"):
        return ""
    notes = read_tensors(config.weights)[1]
    seen = notes.get("seen") if notes.get("format") == MODEL_FORMAT else None
    return seen if isinstance(seen, str) else ""


def _seen(mix: Mix, config: TrainReidConfig) -> str:
    """The fingerprints of all images that a trained network knows; "" where that is unknown.

    A bank does not say which images its generator saw, but only that they are kept ones.
    """
    data = mix.bank.attributes["generator_data"] if mix.bank and mix.generated else "kept"
    before = _seen_before(config) if config.weights else ""
    if {data, *scorers(mix)} != {"kept"} or (config.weights and not before):
        return ""
    return before + seen_images(mix.real)


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    return {
        "reid_aug": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "torchreid": torchreid_library().__version__,
        "numpy": np.__version__,
    }


def seconds_per_step(mix: Mix, config: TrainReidConfig, device: torch.device) -> float:
    """Time of one training step, measured on the second of two, in a scratch network."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torchreid_library().utils.set_random_seed(0)
    training = Training(mix, _transforms(config)[0])
    model = build_backbone(config.backbone, len(training.labels), config.height, config.width)
    engine, loader = _engine(
        model.to(device), training, replace(config, steps=2, workers=0), 0, device
    )
    engine.set_model_mode("train")
    elapsed, began = 0.0, time.perf_counter()
    for batch in loader:
        engine.forward_backward(batch)
        elapsed, began = time.perf_counter() - began, time.perf_counter()
    return elapsed
