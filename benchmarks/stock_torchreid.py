"""Compare plain training at ratio 0 with stock torchreid: equal losses, and images per second.

    python -m benchmarks.stock_torchreid [--data DIR] [--backbone resnet18] [--steps 50]

The stock side is torchreid's own data set class, transforms, network, optimiser and softmax engine,
on the same images in the same order, each with the same random changes. First both train in double
precision, where rounding does not grow, and the losses of all steps are compared. Then both train
in their default precision, one step of each in turn, loading of images included. Prints medians and
the ratio.
"""

import argparse
import time
from collections.abc import Iterator
from statistics import median
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils.data import DataLoader

from reid_aug.backbones import torchreid_library
from reid_aug.data.dataset import read_market1501
from reid_aug.mixing import Mix
from reid_aug.people import PeopleConfig
from reid_aug.stages.stage import people_folder
from reid_aug.stages.train_reid import build_network, transforms_of
from reid_aug.stages.train_reid.batches import Batches, Draw, Training
from reid_aug.stages.train_reid.settings import TrainReidConfig
from reid_aug.stages.train_reid.trainer import ReidTrainer

Loader = Iterator[dict[str, Any]]
BETA2 = 0.999  # as in torchreid's training script; the default of build_optimizer is 0.99


def stock_data(training: Training) -> Any:
    """Torchreid's data set of the same list, with the same seeds of the random changes."""

    class Stock(torchreid_library().data.datasets.dataset.ImageDataset):
        def __getitem__(self, draw: Draw) -> dict[str, Any]:
            training.seed_changes(draw.number)
            return super().__getitem__(draw.place)

    real = training.mix.real
    items = [(str(image.path), training.labels[image.pid], image.camid) for image in real]
    return Stock(items, items[:1], items[:1], transform=training.transform, verbose=False)


def stock_engine(config: TrainReidConfig, classes: int, device: torch.device) -> Any:
    """Torchreid's softmax engine, with its optimiser and a schedule in steps."""
    torchreid = torchreid_library()
    model = built(config, classes).to(device)
    optimiser = torchreid.optim.build_optimizer(
        model, optim="adam", lr=config.lr, weight_decay=config.weight_decay, adam_beta2=BETA2
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, config.rate)
    manager = SimpleNamespace(train_loader=[], test_loader={}, sources=[""], num_train_pids=classes)
    engine = torchreid.engine.ImageSoftmaxEngine(
        manager, model, optimiser, schedule, device.type == "cuda", config.label_smooth
    )
    engine.set_model_mode("train")
    return engine


def built(config: TrainReidConfig, classes: int) -> torch.nn.Module:
    """The network, with the same weights on both sides."""
    torchreid_library().utils.set_random_seed(0)
    return build_network(config, classes)


def both_sides(training: Training, config: TrainReidConfig) -> tuple[Loader, Loader]:
    """The batches of all steps, ours and those of the stock data set."""
    ours, theirs = (
        DataLoader(images, batch_sampler=Batches(training.mix, config, 0))
        for images in (training, stock_data(training))
    )
    return iter(ours), iter(theirs)


def compare_losses(training: Training, config: TrainReidConfig, device: torch.device) -> float:
    """The largest relative difference of the losses of all steps, in double precision."""
    classes = len(training.labels)
    torch.set_default_dtype(torch.float64)  # torchreid makes its labels in the default type
    trainer = ReidTrainer(built(config, classes), config, 0, device)
    engine = stock_engine(config, classes, device)
    worst, first, last = 0.0, 0.0, 0.0
    for step, (batch, stock) in enumerate(zip(*both_sides(training, config), strict=True)):
        ours = trainer.step(batch, step)["loss"].item()
        theirs = engine.forward_backward(stock)["loss"]
        engine.update_lr()
        worst = max(worst, abs(ours - theirs) / theirs)
        first, last = first or theirs, theirs
    torch.set_default_dtype(torch.float32)
    line = f"losses of {config.steps} steps, from {first:.4f} to {last:.4f}: {worst:.1e} apart"
    print(line, flush=True)
    return worst


def compare_speed(training: Training, config: TrainReidConfig, device: torch.device) -> None:
    """Print the images per second of both, one step of each in turn."""
    classes = len(training.labels)
    trainer = ReidTrainer(built(config, classes), config, 0, device)
    engine = stock_engine(config, classes, device)
    ours, theirs = both_sides(training, config)
    seconds: dict[str, list[float]] = {"reid-aug": [], "torchreid": []}
    for step in range(config.steps):
        turns = [("reid-aug", ours), ("torchreid", theirs)]
        for name, batches in turns if step % 2 else turns[::-1]:
            began = time.perf_counter()
            batch = next(batches)
            if name == "reid-aug":
                trainer.step(batch, step)
            else:
                engine.forward_backward(batch)
                engine.update_lr()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - began)
    speed = {name: config.batch / median(times[2:]) for name, times in seconds.items()}
    for name, images in speed.items():
        print(f"{name}: {images:.1f} images/s")
    print(f"ratio: {speed['reid-aug'] / speed['torchreid']:.2f}")


def main() -> None:
    """Read the options and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="in Market-1501 layout; default: the built-in people")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    root = given.data or people_folder(PeopleConfig(60, 60))
    size = given.height, given.width
    config = TrainReidConfig(given.backbone, given.steps, given.batch, *size)
    training = Training(Mix(read_market1501(root).train), transforms_of(config)[0], 0)
    device = torch.device(given.device)
    compare_losses(training, config, device)
    compare_speed(training, config, device)


if __name__ == "__main__":
    main()
