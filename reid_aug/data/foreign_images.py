"""Images that other software generated, with what their file names say.

The file names, in the folder or any folder in it, are those of Market-1501 or of known tools:

    0002_c1s1_000451_03.jpg                            pid 2, camera 1; an image of that name in the
                                                       data set is the source, as for pose1/ to
                                                       pose8/ of Pose2ID
    0002_c1s1_000451_03.jpg___0002_c2s1_1.jpg_vis.jpg  PATN: source, target
    0002_c1s1_000451_03_2_0002_c2s1_1_vis.png          GFLA, DPTN, PIDM: source, target
    0002_c1s1_000451_03_to_0002_c2s1_1.png             PCDMs: source, target
    001_010_gan0043_c3s1_000551_00.jpg                 DG-Market: classes, and the source: pid 43
    0002_c1s1_000451_03_fake_1to2.jpg                  CamStyle: the source, under camera 2

An image of PATN may be its sheet of five panels (source, pose, target, pose, generated), of which
the last is used. A stray image with another name is left out.
"""

import re
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_aug.data.dataset import (
    FARTHEST_SHAPE,
    SUFFIXES,
    far_from_shape,
    image_and_other_files,
    open_image,
    parse_name,
    resize,
)
from reid_aug.data.listing import ignored_text
from reid_aug.runtime.errors import UserError

PANELS, VISUAL = 5, "_vis"  # of the sheets of PATN
PAIR = re.compile(r"(.+?)(?:___|_2_|_to_)((?:-1|\d+)_c\d.*)")
STRAY_SHARE = 0.01  # of the images; as many with another name are left out, and always one
OF_SOURCE = re.compile(r"\d+_\d+_gan(.+)|(.+)_fake_\d+to(\d{1,9})")
# As FARTHEST_SHAPE, for generators of pairs, whose images all have one size, as 256x176 for
# DeepFashion; their sheets in two rows have the factor 1.5.
FARTHEST_OF_PAIR = 1.45
DEEPEST_FOLDER = 4  # levels of folders that are searched


@dataclass(frozen=True, slots=True)
class Foreign:
    """An image that other software generated, and its provenance."""

    path: Path
    pid: int
    camid: int
    source: str = ""
    """File name of the image that supplied the appearance; "" if unknown."""
    target: str = ""
    """File name of the image that supplied the pose, or the name of a given pose; "" if unknown."""
    is_stated: bool = True
    """Whether a table names source and target, which then must be kept images."""
    is_pair: bool = False
    """Whether the file name names source and target, so that the file may be a sheet."""

    def pixels(self, usual: float) -> np.ndarray:
        """The generated image, (H, W, 3) uint8; of a sheet, its last panel.

        Args:
            usual: the height of the images of the data set over their width.

        Raises:
            UserError: If the file does not decode, or its shape is far from the usual one.
        """
        pixels = open_image(self.path)
        high, wide = pixels.shape[:2]
        is_sheet = self.is_pair and wide % PANELS == 0
        if is_sheet and not far_from_shape((high, wide // PANELS), usual):
            return pixels[:, -wide // PANELS :]
        farthest = FARTHEST_OF_PAIR if self.is_pair else FARTHEST_SHAPE
        if text := far_from_shape((high, wide), usual, farthest):
            raise UserError(f"{self.path}: {text}")
        return pixels

    def read(self, height: int, width: int, usual: float) -> np.ndarray:
        """The generated image, (height, width, 3) uint8; arguments and errors as in pixels."""
        return resize(self.pixels(usual), height, width)


def read_names(folder: Path, names: Container[str] = ()) -> tuple[list[Foreign], list[Path]]:
    """The images of a folder and of the folders in it, by file name; and the files not read.

    Args:
        folder: the folder.
        names: the names of the real images, to recognise sources and targets.

    Raises:
        UserError: If the folder is missing or holds no image, or a name has another form.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; give that of the generated images")
    files, others = _files_below(folder, DEEPEST_FOLDER)
    if not files:
        hint = f"; {ignored_text(others)}" if others else ""
        raise UserError(
            f"{folder}: must hold images (0002_c1s1_000451_03.jpg, ...), got none{hint}"
        )
    found, stray = [], {}
    for path in files:
        try:
            found.append(_parse_name(path, names))
        except UserError as error:
            stray[path] = error
    if len(stray) > max(1, STRAY_SHARE * len(files)) or not found:
        raise next(iter(stray.values()))
    return found, [*others, *stray]


def _files_below(folder: Path, depth: int) -> tuple[list[Path], list[Path]]:
    """The images of a folder and of the folders in it, and its other files."""
    files, others = image_and_other_files(folder)
    folders = [path for path in others if path.is_dir()]
    others = [path for path in others if not path.is_dir()]
    for below in folders if depth else []:
        more, rest = _files_below(below, depth - 1)
        files, others = files + more, others + rest
    return files, others


def _parse_name(path: Path, names: Container[str]) -> Foreign:
    """An image by its file name, in one of the forms above."""
    stem = path.stem.removesuffix(VISUAL)
    if match := PAIR.fullmatch(stem):
        source, target = match[1], match[2]
    elif match := OF_SOURCE.fullmatch(stem):
        source, target = match[1] or match[2], ""
    else:
        image = parse_name(path)
        source = _known(path.name, names)
        if source not in names:
            source = _known(path.stem, names)
        return Foreign(path, image.pid, image.camid, source, is_stated=False)
    image = parse_name(path.with_name(source))
    camid = int(match[3]) if match.re is OF_SOURCE and match[3] else image.camid
    source, target = (_known(name, names) for name in (source, target))
    is_pair = match.re is PAIR
    return Foreign(path, image.pid, camid, source, target, is_stated=False, is_pair=is_pair)


def _known(name: str, names: Container[str]) -> str:
    """The real image of that name, with or without its suffix; the name itself if unknown."""
    return next((name + end for end in ("", *SUFFIXES) if name + end in names), name)
