"""Compare the generator in the package with copies and limb warps, on people it was not trained on.

    python benchmarks/demo_generator.py BANK [--model MODEL.safetensors] [--beside BANK]
        [--picture] [--note FILE]

BANK is a bank of the built-in people. Each generated image is compared with the truth, which is the
render of the same person, camera and pose. So are two baselines without training: the unchanged
source image, and its limbs moved one by one (:mod:`reid_aug.generator.limb_warp`). Prints a table
in markdown: mean and standard error over rows spread evenly over the bank.

    L1        mean absolute difference from the truth, in [-1, 1] scale
    SSIM      structural similarity to the truth (7 x 7 windows), mean over the person's pixels

and, by the features of a re-ID network that ``reid-aug train-reid`` trained on real images of other
people:

    margin    the line-up: every identity of the training set rendered in the pose and under the
              camera of the generated image, each in front of another piece of the street. Cosine of
              the image's feature to that of the right identity, minus the largest to a wrong one
    found     the fraction of rows with a margin above 0: the right identity is the nearest
    album     cosine to the mean feature of the identity's training images without the source, minus
              the largest such cosine of another identity. Those images share camera and place with
              the source, and no pose with the generated image, so here a copy is ahead of the truth

``--beside`` names a bank of the same rows from another generator: the table then has its values and
the difference of BANK from them, paired by row. ``--picture`` writes demo.png, the picture of the
README, into the folder of this script. ``--note`` writes the means of every method into the
metadata of the generator FILE, as ``score``, under the cameras of the bank.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.metrics import structural_similarity
from torch import Tensor
from torch.nn import functional as F
from torchvision import transforms

from reid_aug.backbones.checkpoint import load_reid_network
from reid_aug.backbones.inceptions import IMAGENET_MEAN, IMAGENET_STD
from reid_aug.bank import Bank
from reid_aug.data.dataset import open_image, read_market1501, resize
from reid_aug.data.keypoints import NO_POSE, Pose, read_keypoints
from reid_aug.data.pictures import draw_pose, sheet, write_picture
from reid_aug.evaluation.features import extract_features
from reid_aug.generator import load_with_metadata, save_generator, to_pixels, to_signed
from reid_aug.generator.limb_warp import warp_limbs
from reid_aug.people import PeopleConfig, cached_people, read_people
from reid_aug.runtime.errors import UserError

ROWS = 200
SHOWN = 12
BASELINES = ("copy", "limb warp")
METHODS = (*BASELINES, "generated", "truth")
BESIDE = "beside"
COLUMNS = ("L1, person", "L1, picture", "SSIM, person", "margin", "found", "album")
PICTURE = Path(__file__).with_name("demo.png")


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A row of the bank: ``images`` (H, W, 3) uint8 by method, ``mask`` (H, W) bool, the person.

    ``pose`` is the target pose; ``source`` and ``target`` are file names, ``camid`` is the camera
    of the image.
    """

    images: dict[str, np.ndarray]
    mask: np.ndarray
    pose: Pose
    source: str
    target: str
    camid: int


def rows_of(bank: Bank, root: Path) -> Iterator[Row]:
    """Rows spread evenly over a bank of the people in the folder ``root``."""
    people, poses = read_people(root), read_keypoints(root / "keypoints.csv")
    is_moved = bank.plan.cameras == "target"
    for row in np.linspace(0, len(bank) - 1, min(ROWS, len(bank))).astype(int).tolist():
        entry = bank[row]
        camid = entry.camid if is_moved else None
        truth = people.draw(people.transferred(entry.source, entry.target, camid))
        size = truth.mask.shape
        copy = open_image(root / "bounding_box_train" / entry.source)
        pose = Pose(entry.keypoints).resized((bank.height, bank.width), size)
        warped = limb_warp(copy, poses.get(entry.source, NO_POSE).xy, pose.xy)
        images = copy, warped, resize(entry.image, *size), truth.image
        named = dict(zip(METHODS, images, strict=True))
        yield Row(named, truth.mask, pose, entry.source, entry.target, entry.camid)


def rows_beside(rows: Sequence[Row], path: Path, root: Path) -> list[Row]:
    """The rows of another bank.

    Raises:
        UserError: If their sources, targets and cameras differ from those of ``rows``.
    """
    others = list(rows_of(Bank(path), root))
    if [_key(row) for row in others] != [_key(row) for row in rows]:
        raise UserError(
            f"{path}: must hold the rows of the first bank, from another generator; make both "
            f"with the same --ratio, --seed and --set synthesize.cameras"
        )
    return others


def _key(row: Row) -> tuple[str, str, int]:
    return row.source, row.target, row.camid


def limb_warp(image: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The image (H, W, 3) uint8 with its limbs moved from one pose (18, 2) to another."""
    signed = to_signed(torch.tensor(image)[None])
    moved, cover = warp_limbs(signed, *torch.from_numpy(np.stack([source, target])[:, None]))
    return to_pixels(moved + (1 - cover) * signed)[0].numpy()


def difference(image: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """Mean absolute difference in [-1, 1] scale of (H, W, 3) uint8 over the pixels ``where``."""
    return float(np.abs(image.astype(float) - truth)[where].mean() / 127.5)


def similarity(image: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """Mean SSIM of two images (H, W, 3) uint8 over the pixels ``where``, (H, W) bool."""
    local = structural_similarity(image, truth, channel_axis=2, data_range=255, full=True)[1]
    return float(local[where].mean())


def measure(row: Row, metric: "IdentityMetric | None") -> np.ndarray:
    """The values of every method, in the order of METHODS and COLUMNS: (4, 3 or 6)."""
    truth, everywhere = row.images["truth"], np.ones_like(row.mask)
    found = []
    for method in METHODS:
        image = row.images[method]
        values = [difference(image, truth, where) for where in (row.mask, everywhere)]
        found.append([*values, similarity(image, truth, row.mask)])
    return np.hstack([np.array(found), metric.values(row)]) if metric else np.array(found)


class IdentityMetric:
    """How well a re-ID network recognises the person of a generated image.

    Args:
        path: ``model.safetensors``, as ``reid-aug train-reid`` writes it.
        root: the data set whose identities are compared.
    """

    def __init__(self, path: Path, root: Path) -> None:
        network = load_reid_network(path)
        self.model, size = network.model, network.size
        normal = transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)
        self.transform = transforms.Compose(
            [transforms.Resize(size), transforms.ToTensor(), normal]
        )
        self.people, self.train = read_people(root), read_market1501(root).train
        device = torch.device("cpu")
        self.known = extract_features(self.model, self.train, self.transform, device)
        self.pids = torch.tensor([image.pid for image in self.train])

    def values(self, row: Row) -> np.ndarray:
        """Margin, found and album of every method, (4, 3)."""
        features = self.features([row.images[method] for method in METHODS])
        is_own = self.pids.unique() == self.pids[self._place(row.source)]
        margins = _margins(features @ self.line_up(row).T, is_own)
        album = _margins(features @ self.album(row).T, is_own)
        return torch.stack([margins, (margins > 0).float(), album], 1).numpy()

    @torch.inference_mode()
    def features(self, images: Sequence[np.ndarray]) -> Tensor:
        """Features (N, D), each of length 1, of N images (H, W, 3) uint8."""
        batch = torch.stack([self.transform(Image.fromarray(image)) for image in images])
        return F.normalize(self.model(batch), dim=1)

    def line_up(self, row: Row) -> Tensor:
        """Features (identities, D) of every identity in the row's pose and camera, by pid."""
        firsts = {image.pid: image.name for image in reversed(self.train)}
        names = [firsts[pid] for pid in sorted(firsts)]
        return self.features([self.people.truth(n, row.target, row.camid) for n in names])

    def album(self, row: Row) -> Tensor:
        """Mean features (identities, D) of every identity without the row's source, by pid."""
        counts = torch.ones(len(self.train), dtype=torch.bool)
        counts[self._place(row.source)] = False
        means = [self.known[counts & (self.pids == pid)].mean(0) for pid in self.pids.unique()]
        return F.normalize(torch.stack(means), dim=1)

    def _place(self, name: str) -> int:
        return next(i for i, image in enumerate(self.train) if image.name == name)


def _margins(near: Tensor, is_own: Tensor) -> Tensor:
    """The right cosine minus the largest wrong one, (N,), of cosines (N, identities)."""
    return near[:, is_own][:, 0] - near[:, ~is_own].amax(1)


def table(found: np.ndarray, beside: np.ndarray | None = None) -> str:
    """Means of (rows, methods, columns), then differences paired by row, in markdown.

    ``beside`` is (rows, methods, columns) of another generator.
    """
    columns = COLUMNS[: found.shape[2]]
    lines = [f"| | {' | '.join(columns)} |", "| --- " * (1 + len(columns)) + "|"]
    named = dict(zip(METHODS, found.swapaxes(0, 1), strict=True))
    baselines = BASELINES
    if beside is not None:
        named[BESIDE] = beside[:, METHODS.index("generated")]
        baselines = (*BASELINES, BESIDE)
    named |= {
        f"generated - {baseline}": named["generated"] - named[baseline] for baseline in baselines
    }
    for name, values in named.items():
        sign = "+" if "-" in name else ""
        error = values.std(0, ddof=1) / np.sqrt(len(values))
        cells = (f"{m:{sign}.3f} ± {e:.3f}" for m, e in zip(values.mean(0), error, strict=True))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_score(path: Path, cameras: str, found: np.ndarray) -> None:
    """Write the means of (rows, methods, columns) into the metadata of a generator."""
    columns = COLUMNS[: found.shape[2]]
    means = {
        method: {name: round(float(mean), 4) for name, mean in zip(columns, values, strict=True)}
        for method, values in zip(METHODS, found.mean(0), strict=True)
    }
    generator, metadata = load_with_metadata(path)
    score = {**metadata.get("score", {}), cameras: {"rows": len(found), **means}}
    save_generator(generator, path, {**metadata, "score": score})


def showpiece(rows: Sequence[Row]) -> Image.Image:
    """A picture of rows, spread evenly, in 128 colours."""
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
    parser.add_argument("--model", type=Path, help="a re-ID network, trained on other people")
    parser.add_argument("--beside", type=Path, help="a bank of another generator, same rows")
    parser.add_argument("--picture", action="store_true", help=f"write {PICTURE.name}")
    parser.add_argument("--note", type=Path, help="the generator file that gets the score")
    arguments = parser.parse_args(words)
    try:
        bank, root = Bank(arguments.bank), cached_people(PeopleConfig())
        metric = IdentityMetric(arguments.model, root) if arguments.model else None
        rows = list(rows_of(bank, root))
        others = rows_beside(rows, arguments.beside, root) if arguments.beside else []
    except UserError as error:
        sys.exit(f"error: {error}")
    found = np.array([measure(row, metric) for row in rows])
    cameras = bank.plan.cameras
    print(f"{len(rows)} rows, cameras {cameras}; mean ± standard error\n")
    beside = np.array([measure(row, metric) for row in others]) if others else None
    print(table(found, beside))
    if arguments.note:
        write_score(arguments.note, cameras, found)
    if arguments.picture:
        write_picture(PICTURE, showpiece(rows))


if __name__ == "__main__":
    main()
