"""Does the shipped generator beat copying and cutting out, on people it has never seen?

    python benchmarks/demo_generator.py BANK [--model MODEL.safetensors] [--picture]

BANK is a bank of the built-in people. Each drawing is compared with the truth, which is what the
renderer draws for the same person, camera and pose, and so are two rivals that learn nothing: the
source image as it is, and its limbs moved one by one (:mod:`reid_aug.grids.limb_warp`). Prints a
table in markdown: mean and standard error over rows spread evenly over the bank.

    L1        mean absolute difference from the truth, in [-1, 1] scale
    SSIM      structural similarity to the truth (7 x 7 windows), mean over the person's pixels
    margin    cosine of a re-ID feature to the mean feature of the person's other training images
              (without the source), minus the largest such cosine of anybody else; needs a network
              that ``reid-aug train-reid`` trained on the real images of other people

``--picture`` writes demo.png, the picture of the README, beside this script.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from reid_aug.grids.limb_warp import limb_warp  # type: ignore[import-not-found]
from skimage.metrics import structural_similarity
from torch.nn import functional as F
from torchvision import transforms

from reid_aug.backbones import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    build_backbone,
    load_starting_weights,
)
from reid_aug.bank import Bank
from reid_aug.dataset import (
    PersonImage,
    open_image,
    read_market1501,
    resize,
)
from reid_aug.errors import UserError
from reid_aug.features import extract_features
from reid_aug.people import PeopleConfig, cached_people, read_people
from reid_aug.pictures import draw_pose, sheet, write_picture
from reid_aug.poses import NO_POSE, Pose, read_keypoints
from reid_aug.weights import read_tensors

ROWS = 200
SHOWN = 12
RIVALS = ("copy", "limb warp")
METHODS = (*RIVALS, "generated", "truth")
COLUMNS = ("L1, person", "L1, picture", "SSIM, person", "margin", "margin > 0")
PICTURE = Path(__file__).with_name("demo.png")

Margin = Callable[[np.ndarray, str], float]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A row of the bank: ``images`` (H, W, 3) uint8 by method, ``mask`` (H, W) bool, the person.

    ``pose`` is the one asked for, ``source`` the file name of the image to start from.
    """

    images: dict[str, np.ndarray]
    mask: np.ndarray
    pose: Pose
    source: str


def rows_of(bank: Bank, root: Path) -> Iterator[Row]:
    """Rows spread evenly over a bank of the people in the folder ``root``."""
    people, poses = read_people(root), read_keypoints(root / "keypoints.csv")
    is_moved = bank.plan["cameras"] == "target"
    for row in np.linspace(0, len(bank) - 1, min(ROWS, len(bank))).astype(int).tolist():
        entry = bank[row]
        camid = entry.camid if is_moved else None
        truth = people.draw(people.transferred(entry.source, entry.target, camid))
        size = truth.mask.shape
        copy = open_image(root / "bounding_box_train" / entry.source)
        pose = Pose(entry.keypoints).resized((bank.height, bank.width), size)
        warped = limb_warp(copy, poses.get(entry.source, NO_POSE).xy, pose.xy)
        images = copy, warped, resize(entry.image, *size), truth.image
        yield Row(dict(zip(METHODS, images, strict=True)), truth.mask, pose, entry.source)


def difference(image: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """Mean absolute difference in [-1, 1] scale of (H, W, 3) uint8 over the pixels ``where``."""
    return float(np.abs(image.astype(float) - truth)[where].mean() / 127.5)


def similarity(image: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """Mean SSIM of two pictures (H, W, 3) uint8 over the pixels ``where``, (H, W) bool."""
    local = structural_similarity(image, truth, channel_axis=2, data_range=255, full=True)[1]
    return float(local[where].mean())


def measure(row: Row, margin: Margin | None) -> np.ndarray:
    """The numbers of every method, in the order of METHODS and COLUMNS: (4, 3 or 5)."""
    truth, everywhere = row.images["truth"], np.ones_like(row.mask)
    found = []
    for method in METHODS:
        image = row.images[method]
        values = [difference(image, truth, where) for where in (row.mask, everywhere)]
        values.append(similarity(image, truth, row.mask))
        if margin is not None:
            value = margin(image, row.source)
            values += [value, float(value > 0)]
        found.append(values)
    return np.array(found)


def margin_of(path: Path, train: Sequence[PersonImage]) -> Margin:
    """The identity margin of an image drawn from a source, asked of a re-ID network.

    Args:
        path: ``model.safetensors``, as ``reid-aug train-reid`` writes it.
        train: the training images of the identities that it has to tell apart.
    """
    recipe = read_tensors(path)[1].get("recipe")
    if not isinstance(recipe, dict) or "backbone" not in recipe:
        raise UserError(f"{path}: must be a network that reid-aug train-reid wrote")
    size = recipe["height"], recipe["width"]
    model = build_backbone(recipe["backbone"], 2, *size)  # the class layer is not asked
    load_starting_weights(model, path)
    normal = transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)
    transform = transforms.Compose([transforms.Resize(size), transforms.ToTensor(), normal])
    known = extract_features(model, train, transform, torch.device("cpu"))
    pids = torch.tensor([image.pid for image in train])
    places = {image.name: place for place, image in enumerate(train)}

    @torch.inference_mode()
    def margin(image: np.ndarray, source: str) -> float:
        feature = F.normalize(model(transform(Image.fromarray(image))[None])[0], dim=0)
        own, others = int(pids[places[source]]), torch.ones(len(train), dtype=torch.bool)
        others[places[source]] = False
        near = {
            int(pid): float(feature @ F.normalize(known[others & (pids == pid)].mean(0), dim=0))
            for pid in pids.unique()
        }
        return near.pop(own) - max(near.values())

    return margin


def table(found: np.ndarray) -> str:
    """Means of (rows, methods, columns), then differences paired by row, in markdown."""
    columns = COLUMNS[: found.shape[2]]
    lines = [f"| | {' | '.join(columns)} |", "| --- " * (1 + len(columns)) + "|"]
    named = dict(zip(METHODS, found.swapaxes(0, 1), strict=True))
    named |= {f"generated - {rival}": named["generated"] - named[rival] for rival in RIVALS}
    for name, values in named.items():
        sign = "+" if "-" in name else ""
        error = values.std(0, ddof=1) / np.sqrt(len(values))
        cells = (f"{m:{sign}.3f} ± {e:.3f}" for m, e in zip(values.mean(0), error, strict=True))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def showpiece(rows: Sequence[Row]) -> Image.Image:
    """Some of the rows, spread evenly, in 128 colours."""
    shown = [rows[i] for i in np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).astype(int)]
    crops = []
    for row in shown:
        copy, warped, generated, truth = row.images.values()
        crops.append([copy, draw_pose(row.pose, *row.mask.shape), warped, generated, truth])
    titles = ("source", "pose", "limb warp", "generated", "truth")
    return sheet(crops, titles, across=4).quantize(128, dither=Image.Dither.NONE)


def main(words: Sequence[str] | None = None) -> None:
    """Print the table, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bank", type=Path, help="of the built-in people")
    parser.add_argument("--model", type=Path, help="a re-ID network, of other people")
    parser.add_argument("--picture", action="store_true", help=f"write {PICTURE.name}")
    arguments = parser.parse_args(words)
    try:
        bank, root = Bank(arguments.bank), cached_people(PeopleConfig())
        margin = None
        if arguments.model:
            margin = margin_of(arguments.model, read_market1501(root).train)
        rows = list(rows_of(bank, root))
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{len(rows)} rows, cameras {bank.plan['cameras']}; mean ± standard error\n")
    print(table(np.array([measure(row, margin) for row in rows])))
    if arguments.picture:
        write_picture(PICTURE, showpiece(rows))


if __name__ == "__main__":
    main()
