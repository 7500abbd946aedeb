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
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
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
from reid_aug.dataset import Dataset
from reid_aug.errors import UserError, require_at_least
from reid_aug.evaluation import Scores
from reid_aug.features import evaluate_model
from reid_aug.files import sha256, write_json
from reid_aug.mixing import Mix
from reid_aug.progress import track
from reid_aug.weights import write_tensors

FORMAT = "reid_aug.result/1"
MODEL_FORMAT = "reid_aug.reid/1"
SCHEDULES = ("cosine", "step")
AP_DEFINITION = "step (mean precision at the hits), ties pessimistic"
LOGGED_EVERY = 10  # steps


@dataclass(frozen=True, slots=True)
class TrainReidConfig:
    """Network, schedule and augmentation; the defaults are torchreid's softmax baseline in steps.

    ``schedule`` "step" divides the learning rate by ten after one third and two thirds of the
    steps; "cosine" lets it fall to 0. ``weights`` is the path of starting weights; ``label_smooth``
    spreads a tenth of each label over all classes; ``erase`` is random erasing.
    """

    backbone: str = "resnet50"
    steps: int = 24_000
    batch: int = 32
    height: int = 256
    width: int = 128
    lr: float = 3e-4
    weight_decay: float = 5e-4
    schedule: str = "step"
    label_smooth: bool = True
    flip: bool = True
    crop: bool = True
    erase: bool = False
    weights: str = ""
    workers: int = 0

    def __post_init__(self) -> None:
        require_at_least(self, 1, "steps")
        require_at_least(self, 2, "batch")
        require_at_least(self, 16, "height", "width")
        require_at_least(self, 0, "workers", "weight_decay")
        if not 0 < self.lr < math.inf:
            raise UserError(f"lr must be above 0, got {self.lr}")
        if self.schedule not in SCHEDULES:
            raise UserError(
                f"schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}"
            )

    def rate(self, step: int) -> float:
        """Learning rate at a step (counted from 0), as a factor of ``lr``."""
        if self.schedule == "cosine":
            return (1 + math.cos(math.pi * step / self.steps)) / 2
        return 0.1 ** (3 * step // self.steps)


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
    provenance: Mapping[str, Any],
) -> Path:
    """Train on ``mix``, evaluate on query and gallery; the path of ``result.json``.

    Writes ``model.safetensors``, ``log.jsonl``, ``images.txt`` (the exact images used) and, last,
    ``result.json`` into ``folder``.

    Args:
        provenance: what the result says of its mix: mode, ratio, keep, keep_seed.
    """
    began = time.time()
    torchreid_library().utils.set_random_seed(seed)
    train_transform, test_transform = _transforms(config)
    training = Training(mix, train_transform)
    model = build_backbone(config.backbone, len(training.labels), config.height, config.width)
    if config.weights:
        print(f"starting weights: {load_starting_weights(model, config.weights)}", file=sys.stderr)
    model.to(device)
    folder.mkdir(parents=True, exist_ok=True)
    names = "".join(f"{mix.name(index)}\n" for index in range(len(mix)))
    (folder / "images.txt").write_text(names)
    _train(model, training, config, folder, seed, device)
    scores = evaluate_model(model, dataset, test_transform, device, config.workers)
    notes = {"format": MODEL_FORMAT, "recipe": asdict(config), "seed": seed}
    write_tensors(folder / "model.safetensors", model.state_dict(), notes)
    result = {
        "format": FORMAT,
        **_score_fields(scores, dataset),
        **provenance,
        **_mix_fields(mix, config),
        "seed": seed,
        "backbone": config.backbone,
        "recipe": asdict(config),
        "steps": config.steps,
        "classes": len(training.labels),
        "parameters": sum(p.numel() for p in model.parameters()),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "seconds": round(time.time() - began, 1),
        "versions": versions(),
    }
    write_json(folder / "result.json", result)
    return folder / "result.json"


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
    optimiser = torch.optim.Adam(model.parameters(), config.lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, config.rate)
    loader = DataLoader(
        training,
        batch_sampler=Shuffles(len(training), config.batch, config.steps, seed),
        num_workers=config.workers,
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
    lines = []
    with track(loader, f"train {config.backbone}", config.steps) as bar:
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
                lines.append({"step": step, "lr": rate, **losses, "generated": generated})
                bar.set_postfix_str(f"loss {losses['loss']:.2f}", refresh=False)
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


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


def _mix_fields(mix: Mix, config: TrainReidConfig) -> dict[str, Any]:
    used = mix.bank if mix.generated else None
    status = used.attributes["generator_data"] if used else None
    # starting weights from a path may have seen anything; only fresh ones are known to be clean
    return {
        "real": len(mix.real),
        "generated": mix.generated,
        "generator_data": status,
        "starting_weights": sha256(config.weights) if config.weights else None,
        "leak_free": status != "whole" and not config.weights,
        "bank_sha256": sha256(used.path) if used else None,
    }


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    return {
        "reid_aug": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "torchreid": torchreid_library().__version__,
        "numpy": np.__version__,
    }


def cell_name(backbone: str, mode: str, ratio: float, keep: float, seed: int) -> str:
    """The folder name of one training.

    >>> cell_name("resnet50", "supplement", 0.5, 1.0, 0)
    'resnet50-supplement0.5-keep1-seed0'
    """
    return f"{backbone}-{mode}{ratio:g}-keep{keep:g}-seed{seed}"


def describe(path: Path) -> str:
    """The scores of a result in one line, per cent."""
    result = json.loads(path.read_text())
    names = {"mAP": "mAP", "rank1": "Rank-1", "rank5": "Rank-5", "mINP": "mINP"}
    scores = ", ".join(f"{label} {100 * result[name]:.1f} %" for name, label in names.items())
    return f"{result['backbone']}: {scores} ({result['queries']} queries)"


def seconds_per_step(mix: Mix, config: TrainReidConfig, device: torch.device) -> float:
    """Time of one training step, measured on the second of two, in a scratch network."""
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


def finished(folder: Path, config: TrainReidConfig, bank_sha256: str | None) -> bool:
    """Whether ``folder`` holds the result of this very training.

    Raises:
        UserError: If it holds another one's.
    """
    path = folder / "result.json"
    if not path.is_file():
        return False
    try:
        result = json.loads(path.read_text())
        same = result["recipe"] == asdict(config) and result["bank_sha256"] == bank_sha256
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: must be a result of train-reid; remove the file") from None
    if not same:
        raise UserError(
            f"{path}: holds a result of other settings or another bank; "
            f"choose another folder with --out, or remove {folder}"
        )
    return True
