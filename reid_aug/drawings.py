"""A folder of somebody's drawings: one file a pair, named after it.

``SOURCE___TARGET`` with any image suffix, as the published tool writes them:
``0002_c1s1_000451_03.jpg___0002_c2s1_000301_01.jpg_vis.jpg``. A file is a single crop, or the
published sheet of five panels, which has been through JPEG already and is taken as it is.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid_aug.dataset import SUFFIXES, image_files, open_image
from reid_aug.errors import UserError
from reid_aug.image_quality.protocols import PANELS, View, cut
from reid_aug.pair_lists import Pair

BETWEEN, MARK = "___", "_vis"


def drawing_files(folder: Path) -> dict[Pair, Path]:
    """The drawings of a folder by their pair, names without suffix.

    Raises:
        UserError: If there is none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; give that of the drawings")
    files = {}
    for path in image_files(folder):
        source, between, target = path.stem.removesuffix(MARK).partition(BETWEEN)
        if between:
            files[_plain((source, target))] = path
    if not files:
        raise UserError(f"{folder}: must hold drawings named SOURCE{BETWEEN}TARGET, got none")
    return files


def files_of(pairs: Sequence[Pair], folder: Path) -> dict[Pair, Path]:
    """The drawing of every pair.

    Raises:
        UserError: If one is missing.
    """
    files = drawing_files(folder)
    missing = [pair for pair in pairs if _plain(pair) not in files]
    if missing:
        raise UserError(
            f"{folder}: must hold a drawing of every pair, got none of {len(missing)} of "
            f"{len(pairs)}; the first is {BETWEEN.join(missing[0])}"
        )
    return {pair: files[_plain(pair)] for pair in pairs}


def open_drawing(path: Path, height: int, width: int) -> np.ndarray | View:
    """A crop (height, width, 3) uint8; of a sheet, its panels.

    Raises:
        UserError: If the file is neither.
    """
    drawn = open_image(path)
    if drawn.shape[:2] == (height, width):
        return drawn
    if drawn.shape[:2] != (height, PANELS * width):
        raise UserError(
            f"{path}: must be {width} or, with five panels, {PANELS * width} pixels wide and "
            f"{height} high, got {drawn.shape[1]}x{drawn.shape[0]}"
        )
    return cut(drawn)


def _plain(pair: Pair) -> Pair:
    """A pair of names without suffixes."""
    source, target = (
        name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in SUFFIXES else name
        for name in pair
    )
    return source, target
