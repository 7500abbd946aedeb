"""CUHK03 as it is published: the images in cuhk-03.mat, and the new protocol in another .mat file.

    cuhk-03.mat                                      or cuhk03_release/cuhk-03.mat; HDF5 (v7.3)
        labeled, detected                            (1, 5) references to pairs of cameras
            a pair                                   (10, P) references to images of P people
                an image                             (3, W, H) uint8; images 1 to 5 are of view 1
    cuhk03_new_protocol_config_labeled.mat           or _detected; MATLAB 5
        filelist                                     1_001_1_01.png: pair, person, view, image
        labels                                       the identity of each image, from 1
        train_idx, query_idx, gallery_idx            images, counted from 1

Only ``convert`` reads it. The images become PNG files, 0001_c1_1_001_1_01.png, with the view as
camera. The new protocol has 767 identities for training and 700 for the test. Its two files come
from https://github.com/zhunzhong07/person-re-ranking.

The HDF5 library opens the file in child processes, because a damaged file can crash it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from reid_aug.data.dataset import FOLDERS
from reid_aug.data.formats.filling import Progress, filled, write_whole
from reid_aug.data.listing import SPLITS
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.regular_files import TEXT, require_regular
from reid_aug.runtime.workers import CORES, spread

MAT, MAT_FOLDER = "cuhk-03.mat", "cuhk03_release"
CONFIG = "cuhk03_new_protocol_config_{}.mat"
CONFIG_NAME = re.compile(r"cuhk03_new_protocol_config_(labeled|detected)\.mat")
CELL_NAME = re.compile(r"([1-5])_(\d{3,4})_([12])_(\d{2})\.png")
MAT_IMAGES_AT_ONCE = 256  # images that a process reads at once
LARGEST_CROP = 2048  # pixels of a side of an image; the largest has 487
MAT_SOURCE = "https://github.com/zhunzhong07/person-re-ranking"


T = TypeVar("T")


class Cell(NamedTuple):
    """A place in cuhk-03.mat, each counted from 0."""

    pair: int
    person: int
    image: int


Wanted = tuple[Cell, Path]  # a place in the file, and the file to write


def mat_files(source: Path) -> tuple[Path, list[Path]] | None:
    """The file of the images and those of the new protocol; None if this is no such data set.

    Args:
        source: the folder, or a file of the new protocol in it.
    """
    folder = source.parent if source.is_file() else source
    mat = next((f for f in (folder / MAT, folder / MAT_FOLDER / MAT) if f.is_file()), folder / MAT)
    configs = sorted(path for path in folder.glob("*.mat") if CONFIG_NAME.fullmatch(path.name))
    if source.is_file() and source not in (mat, *configs):
        return None
    if not configs and not mat.is_file():
        return None
    return mat, [source] if source in configs else configs


def write_cuhk03(source: Path, folder: Path, progress: Progress = iter) -> dict[str, int]:
    """Write CUHK03 in the new protocol to ``folder`` in Market-1501 layout.

    Args:
        source: the folder of the .mat files, or one of the two files of the new protocol.
        folder: a missing or empty folder, or one that the same command has begun.
        progress: wraps the pieces of work, to show the progress.

    Returns:
        The number of images per folder.

    Raises:
        UserError: If a file is missing, damaged or of another form.
    """
    mat, kind, places = _plan(source)
    targets = [str(target) for _, target in places]
    _in_children(partial(_check, mat, kind), [cell for cell, _ in places], mat)
    with filled(folder, f"CUHK03, {kind}", targets):
        todo = [(cell, folder / t) for cell, t in places if not (folder / t).is_file()]
        _in_children(partial(_extract, mat, kind), todo, mat, progress)
    found = Counter(Path(target).parts[0] for target in targets)
    return {name: found[name] for name in FOLDERS}


def _in_children(
    work: Callable[[Sequence[T]], None], items: Sequence[T], mat: Path, progress: Progress = iter
) -> None:
    """Do the work piece by piece in child processes."""
    step = max(
        1, min(MAT_IMAGES_AT_ONCE, len(items) // 2)
    )  # two pieces, so that there are children
    pieces = [items[start : start + step] for start in range(0, len(items), step)]
    killed = f"{mat}: must be an intact HDF5 file, got one that ends the HDF5 library"
    done = spread(work, pieces, max(2, CORES), killed)
    for _ in zip(progress(pieces), done, strict=True):
        pass


def _plan(source: Path) -> tuple[Path, str, list[tuple[Cell, Path]]]:
    """The file of the images, their kind, and their places in the new folder."""
    mat, configs = mat_files(source) or (source / MAT, [])
    if not configs:
        raise UserError(
            f"{source}: must hold {CONFIG.format('labeled')} or _detected, the new protocol of "
            f"CUHK03, beside {MAT}; take it from {MAT_SOURCE}"
        )
    if len(configs) > 1:
        names = " and ".join(path.name for path in configs)
        raise UserError(f"{source}: must hold one protocol, got {names}; give one of these files")
    if not mat.is_file():
        raise UserError(f"{mat} is missing; put it beside {configs[0].name}")
    match = CONFIG_NAME.fullmatch(configs[0].name)
    return mat, match[1] if match else "", list(_places(configs[0]))


def _places(path: Path) -> Iterator[tuple[Cell, Path]]:
    content = _read_config(path)
    names, labels = content["filelist"], content["labels"]
    for split, folder in zip(SPLITS, FOLDERS, strict=True):
        for index in content[f"{split}_idx"]:
            where = f"{path}: image {index} of {split}"
            if not 1 <= index <= min(len(names), len(labels)):
                raise UserError(f"{where}: must be one of the {len(names)} images of filelist")
            name, pid = str(names[index - 1]), int(labels[index - 1])
            match = CELL_NAME.fullmatch(name)
            if match is None or pid < 1:
                raise UserError(f"{where}: must have a name as 1_001_1_01.png, got {name[:40]!r}")
            cell = Cell(int(match[1]) - 1, int(match[2]) - 1, int(match[4]) - 1)
            yield cell, Path(folder) / f"{pid:04d}_c{match[3]}_{name}"


def _read_config(path: Path) -> dict[str, list[Any]]:
    from scipy.io import loadmat  # imported here: no other data set needs it

    require_regular(path, TEXT)
    keys = ("filelist", "labels", *(f"{split}_idx" for split in SPLITS))
    try:
        content = loadmat(path, variable_names=keys)
        found = {key: content[key].ravel().tolist() for key in keys}
        names = [str(np.asarray(name).ravel()[0]) for name in content["filelist"].ravel()]
        return {key: [int(v) for v in found[key]] for key in keys[1:]} | {"filelist": names}
    except Exception as error:  # loadmat raises what it happens to meet in a damaged file
        text = " ".join(str(error).split())[:80] or type(error).__name__
        raise UserError(
            f"{path}: must be a file of the new protocol of CUHK03 (MATLAB 5) with "
            f"{', '.join(keys)}, got {text}; take it from {MAT_SOURCE}"
        ) from None


def _check(mat: Path, kind: str, cells: Sequence[Cell]) -> None:
    """Refuse a file that lacks one of these images. Runs in a child process."""
    for cell, dataset in _datasets(mat, kind, cells):
        shape: tuple[int, ...] = getattr(dataset, "shape", ())
        dtype = getattr(dataset, "dtype", None)
        fits = len(shape) == 3 and shape[0] == 3 and min(shape) > 0 and max(shape) <= LARGEST_CROP
        if not fits or dtype != np.uint8 or dataset.is_virtual or dataset.external:
            raise UserError(
                f"{mat}: image {cell.image + 1} of person {cell.person + 1} of pair "
                f"{cell.pair + 1} must be 3 x width x height bytes, got {dtype} of shape {shape}"
            )


def _extract(mat: Path, kind: str, wanted: Sequence[Wanted]) -> None:
    """Write some images as PNG files. Runs in a child process."""
    targets = dict(wanted)
    for cell, dataset in _datasets(mat, kind, [*targets]):
        image = Image.fromarray(np.ascontiguousarray(dataset[()].T))  # (H, W, 3)
        write_whole(targets[cell], partial(image.save, format="PNG"))


def _datasets(mat: Path, kind: str, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Any]]:
    """The HDF5 datasets of some images."""
    import h5py  # imported here, so that reading other data sets does not load it

    require_regular(mat)
    try:
        with h5py.File(mat) as file:
            pairs = {pair: file[file[kind][0, pair]][()] for pair in {cell.pair for cell in cells}}
            for cell in cells:
                yield cell, file[pairs[cell.pair][cell.image, cell.person]]
    except UserError:
        raise
    except (OSError, KeyError, IndexError, ValueError, TypeError, RuntimeError) as error:
        text = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(
            f"{mat}: must be {MAT} of CUHK03 (HDF5) with the cells {kind}, got {text}"
        ) from None
