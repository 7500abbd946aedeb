"""The values of the metrics for known images: the real target, a copy of the source, a generator.

    python benchmarks/quality.py DATA [--count N] [--pairs FILE] [--generator NAME=FILE] ...
        [--movenet FILE] [--reid FILE] ...

DATA is a folder in Market-1501 layout with ``keypoints.csv``. Prints a table in markdown with one
column per kind of image and protocol. The real target shows the effect of a protocol on a correct
image, and the distance between the estimator behind PCKh and the published keypoints. The copy
shows the value of an unchanged pose, "moved limbs" that of the method limb-warp. "generated" are
images of the demo generator, which was trained on rendered people only; ``--generator`` adds
others. The pairs are those of the published rule over the gallery, or those of a file whose two
images DATA holds.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from reid_aug.bank.methods.limb_warp import move_limbs
from reid_aug.data.dataset import DataConfig, Dataset, PersonImage, read_market1501
from reid_aug.data.formats import default_keypoints
from reid_aug.data.keypoints import read_keypoints
from reid_aug.data.pair_lists import Pair, read_pairs
from reid_aug.image_quality import PROTOCOLS, View, views
from reid_aug.image_quality.declarations import metrics as declared_metrics
from reid_aug.image_quality.generated_images import (
    Gallery,
    GeneratedImages,
    ImagesOfGenerator,
    Picture,
)
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.progress import track
from reid_aug.stages.evaluate_generator import (
    PAIRS_AT_ONCE,
    choose_pairs,
    measure,
    open_metrics,
    values_of,
)
from reid_aug.stages.stage import demo_generator

CPU = torch.device("cpu")


class Known(GeneratedImages):
    """The source (place 0) or the target (place 1) of a pair as its generated image."""

    about: ClassVar = {}

    def __init__(self, place: int) -> None:
        self.place = place

    def generate(self, pairs: Sequence[tuple[Picture, Picture]]) -> list[dict[str, View]]:
        """The images of each pair, by protocol."""
        return [
            views(pair[0].pixels, pair[1].pixels, pair[self.place].pixels,
                  (pair[0].pose, pair[1].pose))
            for pair in pairs
        ]  # fmt: skip


class MovedLimbs(GeneratedImages):
    """The images of the method limb-warp."""

    about: ClassVar = {}

    @torch.inference_mode()
    def generate(self, pairs: Sequence[tuple[Picture, Picture]]) -> list[dict[str, View]]:
        """The images of each pair, by protocol."""
        pixels = torch.from_numpy(np.stack([source.pixels for source, _ in pairs]))
        xy = torch.from_numpy(np.stack([[end.pose.xy for end in pair] for pair in pairs]))
        moved = move_limbs(pixels, xy[:, 0], xy[:, 1]).numpy()
        return [
            views(source.pixels, target.pixels, each, (source.pose, target.pose))
            for (source, target), each in zip(pairs, moved, strict=True)
        ]


def pairs_in(file: str, dataset: Dataset) -> tuple[list[Pair], dict[str, PersonImage]]:
    """The pairs of a file whose two images the data set holds, and all its images by name."""
    images = {image.name: image for image in (*dataset.train, *dataset.query, *dataset.gallery)}
    return [pair for pair in read_pairs(file) if {*pair} <= images.keys()], images


def measured(
    generated: GeneratedImages,
    gallery: Gallery,
    pairs: Sequence[tuple[str, str]],
    weights: dict[str, str],
) -> dict[str, dict[str, float | None]]:
    """The value of every metric by name and protocol; None if it is undefined."""
    metrics = open_metrics(weights, CPU)
    for start in track(range(0, len(pairs), PAIRS_AT_ONCE), "measure images"):
        measure(generated, gallery, pairs[start : start + PAIRS_AT_ONCE], metrics)
    return values_of(metrics)


def main(words: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, default=200, help="number of pairs at most")
    parser.add_argument("--pairs", metavar="FILE", help="a file of pairs, from,to")
    parser.add_argument("--generator", action="append", default=[], metavar="NAME=FILE")
    options = [one.option for one in declared_metrics() if one.option]
    for option in options:
        parser.add_argument(f"--{option}", dest=option, help="weights")
    arguments = parser.parse_args(words)
    weights = {name: getattr(arguments, name) for name in options if getattr(arguments, name)}
    try:
        dataset = read_market1501(arguments.data)
        poses = read_keypoints(default_keypoints(arguments.data))
        if arguments.pairs:
            pairs, images = pairs_in(arguments.pairs, dataset)
            pairs = pairs[: arguments.count]
        else:
            pairs, images = choose_pairs(dataset, poses, None, arguments.count)
        gallery = Gallery(images, poses, DataConfig())
        kinds: dict[str, GeneratedImages] = {
            "target": Known(1),
            "copy of source": Known(0),
            "moved limbs": MovedLimbs(),
            "generated": ImagesOfGenerator(demo_generator(), dataset, CPU),
        }
        for named in arguments.generator:
            name, _, path = named.partition("=")
            kinds[name] = ImagesOfGenerator(Path(path), dataset, CPU)
        found = {name: measured(kind, gallery, pairs, weights) for name, kind in kinds.items()}
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{len(pairs)} pairs\n")
    heads = [f"{name}, {protocol}" for name in found for protocol in PROTOCOLS]
    print(f"| | {' | '.join(heads)} |\n" + "| --- " * (len(heads) + 1) + "|")
    for name in found["target"]:
        cells = [row[name].get(protocol) for row in found.values() for protocol in PROTOCOLS]
        if None not in cells:
            print(f"| {name} | {' | '.join(f'{cell:.3f}' for cell in cells)} |")


if __name__ == "__main__":
    main()
