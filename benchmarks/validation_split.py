"""Split the training identities of a data set, to choose settings without its test identities.

    python benchmarks/validation_split.py DATA DIR [--every N]

DATA is a folder in Market-1501 layout with ``keypoints.csv``. DIR becomes one whose training images
are those of most training identities of DATA. Every N-th identity, in the order of the pids, is a
validation identity: its first image under each camera is a query, the others are the gallery. The
test images of DATA are not read.
"""

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from reid_aug.data.dataset import FOLDERS, PersonImage, read_market1501
from reid_aug.runtime.errors import UserError

TRAIN, QUERY, GALLERY = FOLDERS


def places(images: Sequence[PersonImage], every: int) -> dict[PersonImage, str]:
    """The folder of every image.

    >>> images = [PersonImage(Path(f"{p}_{c}_{n}.jpg"), p, c) for p in (1, 2) for c, n in
    ...           ((1, 0), (1, 1), (2, 2))]
    >>> [f"{image.path.name} {folder}" for image, folder in places(images, 2).items()][2:5]
    ['1_2_2.jpg bounding_box_train', '2_1_0.jpg query', '2_1_1.jpg bounding_box_test']
    """
    validated = set(sorted({image.pid for image in images})[every // 2 :: every])
    found: dict[PersonImage, str] = {}
    seen = set()
    for image in sorted(images):
        key = image.pid, image.camid
        is_first = key not in seen
        seen.add(key)
        test = QUERY if is_first else GALLERY
        found[image] = test if image.pid in validated else TRAIN
    return found


def main(words: Sequence[str] | None = None) -> None:
    """Write the data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=5)
    given = parser.parse_args(words)
    if given.folder.exists():
        parser.error(f"{given.folder} exists; name another folder")
    try:
        found = places(read_market1501(given.data).train, given.every)
    except UserError as error:
        sys.exit(f"error: {error}")
    for folder in FOLDERS:
        (given.folder / folder).mkdir(parents=True)
    for image, folder in found.items():
        shutil.copy2(image.path, given.folder / folder / image.name)
    shutil.copy2(given.data / "keypoints.csv", given.folder)
    counts = Counter(found.values())
    print(", ".join(f"{counts[folder]} in {folder}" for folder in FOLDERS))


if __name__ == "__main__":
    main()
