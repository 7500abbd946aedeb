"""Compute the pose library of the package, and write it as a keypoint file.

    python -m benchmarks.pose_library FILE

The same file comes out on every machine: the poses follow from the renderer's mean person and are
rounded to pixels. Prints its SHA-256, which banks record.
"""

import sys
from pathlib import Path

from reid_aug.data.keypoints import write_keypoints
from reid_aug.people.pose_library import computed_library
from reid_aug.runtime.files import sha256


def main(path: Path) -> None:
    """Write the library to ``path``."""
    write_keypoints(path, computed_library())
    print(sha256(path))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
