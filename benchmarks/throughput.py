"""How fast every stage is: beside a reference, and beside the floor of this machine.

    python -m benchmarks.throughput [--device cuda] [--repeats 5] [--threads 1] [--only STAGE ...]

Prints one row per stage: items per second of ours and of the reference, which take turns within
this run; the ratio, which is the median of the turns; the floor, and the share of it that ours
reaches. On one thread of the CPU, seconds are those of the processor (except for ``check``, which
uses all cores), so that other programs on the machine matter little.

The floor is the time of the arithmetic operations of one item (of its bytes, where nothing is
computed) at the speed of a large matrix product or convolution (of a copy), measured here in single
precision. Operations are those of direct convolutions: Winograd's algorithm needs fewer, so its
share can pass 100 %. The floor of what decodes images is the bare decoder of Pillow. The data are
the built-in people and noise, and networks have random weights.

    check                decoding and hashing a crop; reference: only Pillow, one after another
    heatmaps             18 maps of a pose; reference: the published loop
    generator            an image; reference: the published network with ready-made heatmaps
    generator training   a pair; reference: the published step
    re-ID training       an image; reference: torchreid's engine
    features             an image of the gallery; reference: torchreid's way, one batch at a time
    ranking              a query among the gallery; reference: torchreid's evaluate_rank
    bank                 a random row; reference: decoding the same image as JPEG
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import published
from benchmarks.bank_stress import generate as fill_bank
from benchmarks.evaluation import ranking
from benchmarks.speed import (
    MARKET,
    Size,
    both_generators,
    compare_steps,
    published_maps,
    random_batch,
)
from benchmarks.stock_torchreid import built, stock_engine
from benchmarks.timing import Comparison, compare, seconds
from reid_aug.backbones import torchreid_library
from reid_aug.bank import Bank
from reid_aug.data.check import check_dataset
from reid_aug.data.dataset import Dataset, read_market1501
from reid_aug.data.keypoints import heatmaps
from reid_aug.evaluation import evaluate
from reid_aug.evaluation.features import Pictures, evaluation_transform, extract_features
from reid_aug.generator import ready_to_generate, to_signed
from reid_aug.people import PeopleConfig, write_people
from reid_aug.stages.train_reid.settings import TrainReidConfig
from reid_aug.stages.train_reid.trainer import ReidTrainer

FLOAT = 4  # bytes
JOINTS = 18


@dataclass(frozen=True, slots=True)
class Scene:
    """Where, how often and how large."""

    device: torch.device
    repeats: int
    people: Path
    clock: Callable[[], float] = time.perf_counter
    size: Size = MARKET
    batch: int = 4
    crops: tuple[int, int] = (128, 64)
    """Height and width of the input of a re-ID network."""
    backbone: str = "resnet50"
    scale: float = 0.05
    """The ranking as a part of Market-1501's size."""
    rows: int = 2000
    """Of the bank."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What the machine can do."""

    operations: float
    """Arithmetic operations per second."""
    bytes: float
    """Read and written by a copy, per second."""


@dataclass(frozen=True, slots=True)
class Row:
    """One stage: times of a call of both, its items, and the floor per item in seconds."""

    stage: str
    items: str
    count: int
    found: Comparison
    floor: float

    def line(self) -> str:
        """The row of the table, in Markdown."""
        ours, theirs = self.count / self.found.ours, self.count / self.found.theirs
        share = 100 * self.floor * ours
        return (
            f"| {self.stage} | {self.items} | {ours:.4g} | {theirs:.4g} | {self.found.ratio:.2f} | "
            f"{1 / self.floor:.4g} | {share:.0f} % |"
        )


def ceilings(
    device: torch.device, clock: Callable[[], float], side: int = 1024, length: int = 2**26
) -> Ceilings:
    """The speeds of computing and of a copy, by the best of five.

    Computing is the faster of a matrix product and a 3x3 convolution of 256 channels: on a CPU they
    are done by different libraries.
    """
    left, right = torch.randn(2, side, side, device=device)
    layer = nn.Conv2d(256, 256, 3, padding=1, bias=False).to(device)
    layer.to(memory_format=torch.channels_last)
    image = torch.randn(8, 256, 32, 16, device=device).to(memory_format=torch.channels_last)
    works = (lambda: left @ right), torch.no_grad()(lambda: layer(image))
    speeds = [
        operations(work) / min(seconds(work, device, clock) for _ in range(5)) for work in works
    ]
    source, target = (torch.ones(length // FLOAT, device=device) for _ in range(2))
    copy = min(seconds(lambda: target.copy_(source), device, clock) for _ in range(5))
    return Ceilings(max(speeds), 2 * length / copy)


def operations(work: Callable[[], object]) -> int:
    """The arithmetic operations of a call, those of convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def crops_of(dataset: Dataset) -> list[Path]:
    """The files of all images."""
    return [
        image.path for part in (dataset.train, dataset.query, dataset.gallery) for image in part
    ]


def decode(contents: Sequence[bytes]) -> list[np.ndarray]:
    """The images of JPEG files, by Pillow only."""
    return [np.asarray(Image.open(io.BytesIO(content)).convert("RGB")) for content in contents]


def check(scene: Scene, _: Ceilings) -> Row:
    """Decoding and hashing crops."""
    files = crops_of(read_market1501(scene.people))
    contents = [path.read_bytes() for path in files]
    found = compare(
        lambda: check_dataset(scene.people, None), lambda: decode(contents), scene.device,
        scene.repeats,
    )  # fmt: skip
    return Row("check", "crops", len(files), found, found.theirs / len(files))


def maps(scene: Scene, ceiling: Ceilings) -> Row:
    """Heatmaps of poses."""
    batch, size = random_batch(32, scene.size), scene.size
    xy = batch.source.to(scene.device)
    found = compare(
        lambda: heatmaps(xy, size.height, size.width), lambda: published_maps(xy, size),
        scene.device, scene.repeats, scene.clock,
    )  # fmt: skip
    floor = JOINTS * size.height * size.width * FLOAT / ceiling.bytes
    return Row("heatmaps", "poses", len(xy), found, floor)


def generator(scene: Scene, ceiling: Ceilings) -> Row:
    """Images of a generator."""
    size, device = scene.size, scene.device
    theirs, ours = both_generators(size)
    batch = random_batch(scene.batch, size).to(device)
    image = to_signed(batch.image).contiguous()
    both = torch.cat([published_maps(xy, size) for xy in (batch.source, batch.target)], 1)
    both = both.to(device)
    theirs.to(device)
    ready_to_generate(ours, device)
    with torch.inference_mode():
        needed = operations(lambda: theirs(image, both)) / scene.batch
        found = compare(
            lambda: ours.repose(to_signed(batch.image), batch.source, batch.target),
            lambda: theirs(image, both), device, scene.repeats, scene.clock,
        )  # fmt: skip
    return Row("generator", "images", scene.batch, found, needed / ceiling.operations)


def generator_training(scene: Scene, ceiling: Ceilings) -> Row:
    """Pairs of a training of generator and discriminators."""
    size, device = scene.size, scene.device
    batch = random_batch(scene.batch, size)
    found = compare_steps(batch, device, scene.repeats, False, False, size, scene.clock)
    step = published.Step(published.Generator(size.channels, size.blocks), size.channels, device)
    images = [to_signed(part).contiguous().to(device) for part in (batch.image, batch.truth)]
    both = [published_maps(xy, size).to(device) for xy in (batch.source, batch.target)]
    needed = operations(lambda: step(*images, *both)) / scene.batch
    return Row("generator training", "pairs", scene.batch, found, needed / ceiling.operations)


def reid_training(scene: Scene, ceiling: Ceilings) -> Row:
    """Images of a re-ID training, in memory."""
    device, count = scene.device, 2 * scene.batch
    config = TrainReidConfig(scene.backbone, 1000, count, *scene.crops)
    labels = torch.arange(count)
    batch = {"img": torch.randn(count, 3, *scene.crops), "pid": labels, "is_generated": labels < 0}
    trainer = ReidTrainer(built(config, count), config, 0, device)
    engine = stock_engine(config, count, device)
    needed = operations(lambda: trainer.step(batch, 0)) / count
    found = compare(
        lambda: trainer.step(batch, 0)["loss"].item(), lambda: engine.forward_backward(dict(batch)),
        device, scene.repeats, scene.clock,
    )  # fmt: skip
    return Row("re-ID training", "images", count, found, needed / ceiling.operations)


def features(scene: Scene, ceiling: Ceilings) -> Row:
    """Features of images on the disk."""
    device = scene.device
    config = TrainReidConfig(scene.backbone, 1, 4, *scene.crops)
    model = built(config, 2).to(device).eval()
    stock = torchreid_library().models.build_model(scene.backbone, 2, pretrained=False)
    stock = stock.to(device).eval()
    images, transform = read_market1501(scene.people).gallery, evaluation_transform(scene.crops)

    def extract_as_torchreid() -> Tensor:
        loader = DataLoader(Pictures(images, transform), 100)
        with torch.no_grad():
            return torch.cat([stock(batch.to(device)).cpu() for batch in loader])

    with torch.inference_mode():
        one = torch.randn(1, 3, *scene.crops, device=device)
        needed = operations(lambda: model(one))
    found = compare(
        lambda: extract_features(model, images, transform, device), extract_as_torchreid, device,
        scene.repeats, scene.clock,
    )  # fmt: skip
    return Row("features", "images", len(images), found, needed / ceiling.operations)


def ranks(scene: Scene, ceiling: Ceilings) -> Row:
    """Queries ranked."""
    given = ranking(0, scene.scale)
    evaluate_rank = torchreid_library().metrics.evaluate_rank
    found = compare(
        lambda: evaluate(*given), lambda: evaluate_rank(*given, use_metric_cuhk03=False),
        scene.device, scene.repeats, scene.clock,
    )  # fmt: skip
    queries, gallery = given[0].shape
    return Row("ranking", "queries", queries, found, gallery * FLOAT / ceiling.bytes)


def bank(scene: Scene, ceiling: Ceilings) -> Row:
    """Random rows of a bank."""
    size = scene.size.height, scene.size.width
    with tempfile.TemporaryDirectory() as folder:
        opened = Bank(fill_bank(Path(folder), scene.rows, size, 0.0))
        order = np.random.default_rng(0).permutation(scene.rows).tolist()
        contents = [path.read_bytes() for path in crops_of(read_market1501(scene.people))]
        some = [contents[row % len(contents)] for row in order]
        found = compare(
            lambda: [opened.image(row) for row in order], lambda: decode(some), scene.device,
            scene.repeats, scene.clock,
        )  # fmt: skip
    return Row("bank", "rows", scene.rows, found, 2 * 3 * size[0] * size[1] / ceiling.bytes)


STAGES: dict[str, Callable[[Scene, Ceilings], Row]] = {
    "check": check,
    "heatmaps": maps,
    "generator": generator,
    "generator-training": generator_training,
    "reid-training": reid_training,
    "features": features,
    "ranking": ranks,
    "bank": bank,
}


def table(scene: Scene, only: Sequence[str]) -> Iterator[str]:
    """The lines of the table, each as soon as it is measured."""
    found = ceilings(scene.device, scene.clock)
    yield (
        f"{scene.device}, {torch.get_num_threads()} threads: {found.operations / 1e9:.1f} "
        f"billion operations per second, {found.bytes / 1e9:.1f} GB per second"
    )
    yield ""
    yield "| stage | per second | ours | reference | ratio | floor | share of floor |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name in only:
        yield STAGES[name](scene, found).line()


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--tiny", action="store_true", help="small networks, for a test")
    given = parser.parse_args(words)
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        people = Path(folder) / "people"
        write_people(people, PeopleConfig(4, 4) if given.tiny else PeopleConfig(12, 12))
        device = torch.device(given.device)
        is_busy = device.type == "cpu" and given.threads == 1
        clock = time.process_time if is_busy else time.perf_counter
        scene = Scene(device, given.repeats, people, clock)
        if given.tiny:
            scene = replace(
                scene, size=Size(32, 16, 4, 1), batch=2, crops=(32, 16), backbone="osnet_x0_25",
                scale=0.01, rows=64,
            )  # fmt: skip
        for line in table(scene, given.only):
            print(line, flush=True)


if __name__ == "__main__":
    main()
