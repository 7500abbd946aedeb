"""Parts that measure one network, or the device itself."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.evaluation import ranking
from benchmarks.gpu.rates import PRECISIONS, beside, precision, rate
from benchmarks.gpu.schedule import Point, Scene
from benchmarks.speed import (
    Size,
    both_generators,
    compare_steps,
    published_maps,
    random_batch,
)
from benchmarks.stock_torchreid import built, stock_engine
from benchmarks.timing import compare, seconds
from reid_aug.evaluation import evaluate
from reid_aug.evaluation.device import evaluate_on_device
from reid_aug.evaluation.features import distance_matrix
from reid_aug.evaluation.reranking import rerank
from reid_aug.generator import Generator, ready_to_generate, to_signed
from reid_aug.stages.train_generator.pairs import PairBatch
from reid_aug.stages.train_reid.settings import TrainReidConfig
from reid_aug.stages.train_reid.trainer import ReidTrainer

SMALL = Size(32, 16, 4, 1)
CLASSES = 751  # training identities of Market-1501
FEATURES = 2048  # of ResNet-50


def ceilings(scene: Scene) -> Iterator[Point]:
    """Matrix product and copies."""
    side, length = (64, 2**16) if scene.is_tiny else (8192, 2**30)
    device = scene.device
    for name in PRECISIONS:
        yield Point(f"matrix product, {name}", 5, partial(_product, side, name, scene))
    source, target = (torch.empty(length, dtype=torch.uint8, device=device) for _ in range(2))
    yield Point("copy on the device", 5, lambda: _copy(target, source, 2, scene))
    host = torch.empty(length // 4, dtype=torch.uint8)
    host = host.pin_memory() if device.type == "cuda" else host
    yield Point("copy to the device", 5, lambda: _copy(target[: len(host)], host, 1, scene))


def _product(side: int, name: str, scene: Scene) -> dict[str, Any]:
    kind = torch.bfloat16 if name == "bf16" else torch.float32
    left, right = (torch.randn(side, side, device=scene.device).to(kind) for _ in range(2))
    with precision("tf32" if name == "bf16" else name, scene.device):
        found = rate(lambda: left @ right, 2 * side**3, scene)
    return {"teraflops": found["per_second"] / 1e12}


def _copy(target: Tensor, source: Tensor, passes: int, scene: Scene) -> dict[str, Any]:
    found = rate(lambda: target.copy_(source, non_blocking=True), passes * len(source), scene)
    return {"gigabytes_per_second": found["per_second"] / 1e9}


def generator(scene: Scene) -> Iterator[Point]:
    """Images per second; the paper reports 60.6 on a Titan Xp."""
    size = SMALL if scene.is_tiny else Size()
    theirs, ours = both_generators(size)
    for count in (2,) if scene.is_tiny else (32, 128, 1, 8):
        batch = random_batch(count, size).to(scene.device)
        for name, way in _ways(theirs, ours, batch, size, scene).items():
            yield Point(f"{name}, batch {count}", 5 if "compiled" not in name else 90, way)


def _ways(
    theirs: nn.Module, ours: Generator, batch: PairBatch, size: Size, scene: Scene
) -> dict[str, Callable[[], dict[str, Any]]]:
    """Every way to generate a batch."""
    published_way = partial(_published, theirs, batch, size, scene)
    our_way = partial(_ours, ours, batch, scene)
    ways = {f"published, {name}": partial(published_way, name) for name in PRECISIONS}
    ways |= {f"ours, {name}": partial(our_way, name) for name in PRECISIONS}
    ways["ours, bf16, channels first"] = partial(our_way, "bf16", is_channels_last=False)
    if scene.device.type == "cuda":
        ways["ours, bf16, CUDA graph"] = partial(our_way, "bf16", is_graph=True)
        ways["ours, bf16, compiled"] = partial(our_way, "bf16", compiles=True)
    return ways


def _published(
    network: nn.Module, batch: PairBatch, size: Size, scene: Scene, name: str
) -> dict[str, Any]:
    """The published network, with heatmaps ready-made."""
    network.to(scene.device)
    image = to_signed(batch.image).contiguous()
    maps = [published_maps(xy, size).to(scene.device) for xy in (batch.source, batch.target)]
    with torch.no_grad(), precision(name, scene.device):
        return rate(lambda: network(image, torch.cat(maps, 1)), len(image), scene)


def _ours(
    model: Generator,
    batch: PairBatch,
    scene: Scene,
    name: str,
    is_channels_last: bool = True,
    compiles: bool = False,
    is_graph: bool = False,
) -> dict[str, Any]:
    """Ours from keypoints, and the largest difference of its images from those in fp32."""
    network = Generator(model.config)
    network.load_state_dict(model.state_dict())
    network = ready_to_generate(network, scene.device)
    if not is_channels_last:
        network.to(memory_format=torch.contiguous_format)

    def generate() -> Tensor:
        return network.repose(to_signed(batch.image), batch.source, batch.target)

    with torch.inference_mode():
        with precision("fp32", scene.device):
            exact = generate().float()
        if compiles:
            network.compile()
        with precision(name, scene.device):
            work = _graph(generate) if is_graph else generate
            apart = (work().float() - exact).abs().max().item()
            return {**rate(work, len(batch.image), scene), "largest_difference": apart}


def _graph(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The work as a recorded graph of kernels."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def generator_training(scene: Scene) -> Iterator[Point]:
    """Steps of the generator and both discriminators, beside the published step."""
    size, count = (SMALL, 2) if scene.is_tiny else (Size(), 32)
    batch, repeats = random_batch(count, size), 2 if scene.is_tiny else 8

    def steps(name: str, compiles: bool = False) -> dict[str, Any]:
        is_half = name == "bf16"
        with precision("tf32" if is_half else name, scene.device):
            found = compare_steps(batch, scene.device, repeats, is_half, compiles, size)
        return beside(found, 1, "published")

    for name in PRECISIONS:
        yield Point(name, 10, partial(steps, name))
    if scene.device.type == "cuda":
        yield Point("bf16, compiled", 120, partial(steps, "bf16", True))


def reid_training(scene: Scene) -> Iterator[Point]:
    """Images per second of a plain training, beside torchreid's own engine; images in memory."""
    size, backbone = ((32, 16), "osnet_x0_25") if scene.is_tiny else ((256, 128), "resnet50")
    for count in (4,) if scene.is_tiny else (32, 128):
        for name in PRECISIONS:
            config = TrainReidConfig(backbone, 1000, count, *size, bf16=name == "bf16")
            yield Point(f"{name}, batch {count}", 10, partial(_reid_steps, config, name, scene))


def _reid_steps(config: TrainReidConfig, name: str, scene: Scene) -> dict[str, Any]:
    device, count = scene.device, config.batch
    labels = torch.arange(count) % CLASSES
    batch = {"img": torch.randn(count, 3, config.height, config.width), "pid": labels,
             "is_generated": labels < 0}  # fmt: skip
    trainer = ReidTrainer(built(config, CLASSES), config, 0, device)
    engine = stock_engine(config, CLASSES, device)
    with precision("fp32" if name == "fp32" else "tf32", device):
        found = compare(
            lambda: trainer.step(batch, 0)["loss"].item(),
            lambda: engine.forward_backward(dict(batch)),
            device,
            2 if scene.is_tiny else 10,
        )
    return beside(found, count, "torchreid")


def evaluation(scene: Scene) -> Iterator[Point]:
    """Features, distances, ranking and re-ranking, for a ranking of Market-1501's size."""
    device = scene.device
    size, backbone = ((32, 16), "osnet_x0_25") if scene.is_tiny else ((256, 128), "resnet50")
    count = 4 if scene.is_tiny else 128
    config = TrainReidConfig(backbone, 1, count, *size)
    images = torch.randn(count, 3, *size, device=device)
    for name in PRECISIONS:
        for order in (torch.contiguous_format, torch.channels_last):
            model = built(config, CLASSES).to(device).to(memory_format=order).eval()
            what = f"features, {name}{', channels last' if order is torch.channels_last else ''}"
            work = _extraction(model, images, lambda name=name: precision(name, device))
            yield Point(what, 5, partial(rate, work, count, scene))
    distances, *columns = ranking(0, 0.02 if scene.is_tiny else 1.0)
    on_device = torch.from_numpy(distances).to(device)

    def ranked() -> dict[str, Any]:
        ours = evaluate_on_device(on_device, *columns).mAP
        return {
            **rate(lambda: evaluate_on_device(on_device, *columns), len(distances), scene),
            "difference_of_mAP": abs(ours - evaluate(distances, *columns).mAP),
        }

    yield Point("queries ranked", 10, ranked)
    query, gallery = (torch.randn(side, FEATURES, device=device) for side in distances.shape)
    work = partial(distance_matrix, query, gallery)
    yield Point("queries, distances", 5, partial(rate, work, len(query), scene))
    work = partial(rerank, query, gallery)
    yield Point("queries re-ranked", 60, partial(_once, work, len(query), scene))


def _extraction(
    model: nn.Module, images: Tensor, as_precise: Callable[[], AbstractContextManager[None]]
) -> Callable[[], Tensor]:
    @torch.inference_mode()
    def extract() -> Tensor:
        with as_precise():
            return model(images)

    return extract


def _once(work: Callable[[], object], count: int, scene: Scene) -> dict[str, Any]:
    """Items per second of work that takes long, by one call."""
    return {"per_second": count / seconds(work, scene.device), "repeats": 1}
