"""Measure the images of a trained generator whose last blocks are omitted.

    python benchmarks/fewer_blocks.py GENERATOR [--rows N]

On the gallery of the built-in people: each row generates an image of a person in the pose of
another image of that person under the same camera. Prints one line per number of blocks: L1 and
SSIM (protocol ``clean`` of ``generator evaluate``) of the generated images and, on a line of its
own, of the unchanged source.
"""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from reid_aug.data.dataset import DataConfig, PersonImage, read_market1501
from reid_aug.data.keypoints import read_keypoints
from reid_aug.generator import Generator, load_generator, to_pixels, to_signed
from reid_aug.image_quality import mean_difference, ssim
from reid_aug.image_quality.generated_images import Gallery, Picture
from reid_aug.people import PeopleConfig, cached_people


def pairs_of(images: Sequence[PersonImage], usable: set[str], rows: int) -> list[tuple[str, str]]:
    """Pairs of usable images of one person under one camera, each once, spread evenly."""
    groups: dict[tuple[int, int], list[str]] = {}
    for image in images:
        if image.pid and image.name in usable:
            groups.setdefault((image.pid, image.camid), []).append(image.name)
    pairs = [pair for names in groups.values() for pair in pairwise(names)]
    places = np.linspace(0, len(pairs) - 1, min(rows, len(pairs))).astype(int)
    return [pairs[place] for place in places]


@torch.inference_mode()
def generated(generator: Generator, source: Picture, target: Picture) -> np.ndarray:
    """One generated image, (H, W, 3) uint8."""
    image = to_signed(torch.from_numpy(source.pixels.copy())[None])
    ends = [torch.from_numpy(end.pose.xy)[None] for end in (source, target)]
    cameras = torch.tensor([[source.image.camid, target.image.camid]])
    return to_pixels(generator.repose(image, *ends, cameras))[0].numpy()


def line(what: str, images: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> str:
    """A line of the table: means over rows."""
    pairs = list(zip(images, truths, strict=True))
    near = np.mean([mean_difference(truth, one) for one, truth in pairs])
    alike = np.mean([ssim(truth, one, "clean") for one, truth in pairs])
    return f"| {what} | {near:.3f} | {alike:.3f} |"


def main(words: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("generator", type=Path)
    parser.add_argument("--rows", type=int, default=100)
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    generator = load_generator(given.generator)
    root = cached_people(PeopleConfig())
    gallery, poses = read_market1501(root).gallery, read_keypoints(root / "keypoints.csv")
    usable = {name for name, pose in poses.items() if pose.has_torso}
    reader = Gallery({image.name: image for image in gallery}, poses, DataConfig())
    rows = [(reader.read(a), reader.read(b)) for a, b in pairs_of(gallery, usable, given.rows)]
    truths = [target.pixels for _, target in rows]
    print(f"{len(rows)} rows\n\n| blocks | L1 | SSIM |\n| --- | --- | --- |")
    print(line("source", [source.pixels for source, _ in rows], truths))
    blocks = list(generator.blocks)
    for count in range(1, len(blocks) + 1):
        generator.blocks = torch.nn.ModuleList(blocks[:count])
        print(line(str(count), [generated(generator, *row) for row in rows], truths), flush=True)


if __name__ == "__main__":
    main()
