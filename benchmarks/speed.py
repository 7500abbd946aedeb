"""Compare the speed of heatmaps, generator and training step with PATN's published implementation.

    python benchmarks/speed.py maps|generator|step [--device cuda] [--batch N] [--bf16]

Market-1501's size and networks: 128x64, width 64, 9 blocks, batch norm. Both generators have the
same weights, and their images are compared first. Keypoints are random, with a fifth of the joints
unseen. The published implementation gets its heatmaps ready-made, as from its files; ours computes
them in the measured time. Ours generates as ``synthesize`` and steps as ``train-generator``;
``--bf16`` is the latter's ``train_generator.bf16``. VGG's weights are random, which costs the same.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import published
import torch
from timing import Comparison, compare
from torch import Tensor, nn

from reid_aug.data.keypoints import heatmaps
from reid_aug.generator import Generator, GeneratorConfig, ready_to_generate, to_signed
from reid_aug.runtime.weights import write_tensors
from reid_aug.stages.train_generator import TrainGeneratorConfig
from reid_aug.stages.train_generator.pairs import PairBatch
from reid_aug.stages.train_generator.trainer import Trainer

HEIGHT, WIDTH, CHANNELS, BLOCKS = 128, 64, 64, 9
NEAR = 1e-4  # of the range [-1, 1]
VGG = {"0.weight": (64, 3, 3, 3), "0.bias": (64,), "2.weight": (64, 64, 3, 3), "2.bias": (64,)}


def random_batch(size: int) -> PairBatch:
    """A batch of noise images and random poses."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(2, size, HEIGHT, WIDTH, 3), dtype=np.uint8)
    xy = (rng.random((2, size, 18, 2)) * (WIDTH, HEIGHT)).astype(np.float32)
    xy[rng.random(xy.shape[:3]) < 0.2] = np.nan
    cameras = np.ones((size, 2), np.int64)
    return PairBatch(*(torch.from_numpy(part) for part in (*pixels, *xy, cameras)))


def published_maps(xy: Tensor) -> Tensor:
    """Heatmaps (B, 18, H, W) of keypoints (B, 18, 2), as in the published files."""
    return torch.from_numpy(
        np.stack([published.joint_maps(one, HEIGHT, WIDTH) for one in xy.numpy()])
    )


def compare_maps(batch: PairBatch, device: torch.device, repeats: int) -> Comparison:
    """Compare the heatmaps of a batch; numpy makes the published ones on the CPU."""
    xy = batch.source.to(device)
    torch.testing.assert_close(heatmaps(xy, HEIGHT, WIDTH).cpu(), published_maps(batch.source))
    return compare(
        lambda: heatmaps(xy, HEIGHT, WIDTH), lambda: published_maps(batch.source), device, repeats
    )


def compare_generators(batch: PairBatch, device: torch.device, repeats: int) -> Comparison:
    """Compare the generation of a batch of images."""
    theirs = published.Generator(CHANNELS, BLOCKS).eval()
    ours = Generator(GeneratorConfig(width=CHANNELS, blocks=BLOCKS))
    for weight in (p for p in theirs.parameters() if p.ndim == 4):  # images that fill the range
        nn.init.kaiming_normal_(weight)
    ours.load_state_dict(theirs.state_dict())
    theirs, ours = theirs.to(device), ready_to_generate(ours, device)
    batch = batch.to(device)
    image = to_signed(batch.image).contiguous()
    maps = torch.cat([published_maps(xy.cpu()) for xy in (batch.source, batch.target)], 1)
    maps = maps.to(device)

    @torch.no_grad()
    def generate_as_published() -> Tensor:
        return theirs(image, maps)

    @torch.inference_mode()
    def generate() -> Tensor:
        return ours.repose(to_signed(batch.image), batch.source, batch.target)

    difference = (generate() - generate_as_published()).abs().max().item()
    print(
        f"largest difference of the images {difference:.1e}, their deviation {generate().std():.2f}"
    )
    if difference > NEAR:
        raise SystemExit("error: both must generate the same images")
    return compare(generate, generate_as_published, device, repeats)


def compare_steps(batch: PairBatch, device: torch.device, repeats: int, bf16: bool) -> Comparison:
    """Compare one step of the generator and both discriminators."""
    with tempfile.TemporaryDirectory() as folder:
        vgg = Path(folder) / "vgg19.safetensors"
        tensors = {f"features.{name}": torch.randn(shape) / 10 for name, shape in VGG.items()}
        write_tensors(vgg, tensors, {})
        config = TrainGeneratorConfig(batch=len(batch.image), vgg=str(vgg), bf16=bf16)
        network = GeneratorConfig(width=CHANNELS, blocks=BLOCKS)
        trainer = Trainer(network, config, 0, device)
    theirs = published.Step(published.Generator(CHANNELS, BLOCKS), CHANNELS, device)
    images = [to_signed(part).contiguous().to(device) for part in (batch.image, batch.truth)]
    maps = [published_maps(xy).to(device) for xy in (batch.source, batch.target)]
    return compare(lambda: trainer.step(batch, 0), lambda: theirs(*images, *maps), device, repeats)


def main(words: Sequence[str] | None = None) -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("maps", "generator", "step"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(words)
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    device, batch = torch.device(given.device), random_batch(given.batch)
    precision = "bfloat16" if given.bf16 and given.what == "step" else "single precision"
    if given.what == "maps":
        found = compare_maps(batch, device, given.repeats)
    elif given.what == "generator":
        found = compare_generators(batch, device, given.repeats)
    else:
        found = compare_steps(batch, device, given.repeats, given.bf16)
    head = f"{given.what}, batch {given.batch}, {device}, {given.threads} threads, {precision}"
    print(found.line(head, given.batch))


if __name__ == "__main__":
    main()
