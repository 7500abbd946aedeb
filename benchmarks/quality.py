"""What the measures say of generated that are known: the real target, a copy of the source, ours.

    python benchmarks/quality.py DATA [--count N] [--movenet FILE] [--reid FILE] ...

DATA is a folder in Market-1501 layout with ``keypoints.csv``. Prints a table in markdown, a column
a kind of drawing and protocol. The real target as a drawing shows what a protocol does to an image
that is right, and how far the estimator behind PCKh is from the published key points; the copy
shows what standing still is worth. "Generated" is the demo generator's, which has seen drawn people
only.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from reid_aug.data.dataset import DataConfig, default_keypoints, read_market1501
from reid_aug.data.keypoints import read_keypoints
from reid_aug.image_quality import MEASURES, PROTOCOLS, VERDICTS, View, views
from reid_aug.image_quality.generated_images import (
    Gallery,
    GeneratedImages,
    ImagesOfGenerator,
    Picture,
)
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.progress import track
from reid_aug.stages.evaluate_generator import BATCH, choose_pairs, open_metrics
from reid_aug.stages.stage import demo_generator

CPU = torch.device("cpu")


class Known(GeneratedImages):
    """The source (place 0) or the target (place 1) of a pair as its drawing."""

    def __init__(self, place: int) -> None:
        self.place = place

    def draw(self, pairs: Sequence[tuple[Picture, Picture]]) -> list[dict[str, View]]:
        """Each pair as every protocol sees it."""
        return [
            views(pair[0].pixels, pair[1].pixels, pair[self.place].pixels,
                  (pair[0].pose, pair[1].pose))
            for pair in pairs
        ]  # fmt: skip


def measure(
    generated: GeneratedImages,
    gallery: Gallery,
    pairs: Sequence[tuple[str, str]],
    weights: dict[str, str],
) -> dict[str, dict[str, float]]:
    """Every measure by protocol."""
    metrics = open_metrics(weights, CPU)
    for start in track(range(0, len(pairs), BATCH), "metric generated"):
        read = [tuple(map(gallery.read, pair)) for pair in pairs[start : start + BATCH]]
        seen = generated.draw(read)
        for protocol, row in metrics.items():
            for metric in row:
                metric.look([each[protocol] for each in seen], [target.pose for _, target in read])
    return {
        protocol: {name: value for metric in row for name, value in metric.scores().items()}
        for protocol, row in metrics.items()
    }


def main(words: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, default=200)
    options = [option for option in VERDICTS if option]
    for option in options:
        parser.add_argument(f"--{option}", help="weights")
    arguments = parser.parse_args(words)
    weights = {name: getattr(arguments, name) for name in options if getattr(arguments, name)}
    try:
        dataset = read_market1501(arguments.data)
        poses = read_keypoints(default_keypoints(arguments.data))
        pairs, images = choose_pairs(dataset, poses, None, arguments.count)
        gallery = Gallery(images, poses, DataConfig())
        kinds = {"target": Known(1), "copy of source": Known(0)}
        kinds["generated"] = ImagesOfGenerator(demo_generator(), dataset, CPU)
        found = {name: measure(kind, gallery, pairs, weights) for name, kind in kinds.items()}
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{len(pairs)} pairs\n")
    heads = [f"{name}, {protocol}" for name in found for protocol in PROTOCOLS]
    print(f"| | {' | '.join(heads)} |\n" + "| --- " * (len(heads) + 1) + "|")
    for name in MEASURES:
        cells = [row[protocol].get(name) for row in found.values() for protocol in PROTOCOLS]
        if None not in cells:
            print(f"| {name} | {' | '.join(f'{cell:.3f}' for cell in cells)} |")


if __name__ == "__main__":
    main()
