"""How near the shipped generator comes to the truth, on people it has never seen.

    python benchmarks/demo_generator.py runs/demo/bank.h5

Takes a bank of the built-in people and compares each drawing with what the renderer draws for the
same person, camera and pose; beside it, what copying the source image gives. Writes the picture
of the README.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from reid_aug.bank import Bank
from reid_aug.dataset import open_image
from reid_aug.people import PeopleConfig, cached_people, read_people
from reid_aug.pictures import draw_pose, sheet
from reid_aug.poses import Pose

ROWS = 200
SHOWN = 12


def difference(image: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """Mean absolute difference in [-1, 1] scale over the pixels ``where``."""
    return float(np.abs(image.astype(float) - truth)[where].mean() / 127.5)


def main(path: Path) -> None:
    """Print the differences, write the picture."""
    bank, root = Bank(path), cached_people(PeopleConfig())
    people, found, pictures = read_people(root), [], []
    for row in np.linspace(0, len(bank) - 1, min(ROWS, len(bank))).astype(int).tolist():
        entry = bank[row]
        truth = people.draw(people.transferred(entry.source, entry.target))
        source = open_image(root / "bounding_box_train" / entry.source)
        everywhere = np.ones_like(truth.mask)
        found.append(
            [
                difference(image, truth.image, where)
                for where in (everywhere, truth.mask)
                for image in (source, entry.image)
            ]
        )
        figure = draw_pose(Pose(entry.keypoints), bank.height, bank.width)
        pictures.append([source, figure, entry.image, truth.image])
    copy, drawn, copy_person, drawn_person = np.mean(found, axis=0)
    print(f"{len(found)} drawings; mean absolute difference from the truth, [-1, 1] scale")
    print(f"whole picture: copying the source {copy:.3f}, generated {drawn:.3f}")
    print(f"the person:    copying the source {copy_person:.3f}, generated {drawn_person:.3f}")
    shown = [pictures[i] for i in np.linspace(0, len(pictures) - 1, SHOWN).astype(int)]
    picture = sheet(shown, ("source", "pose", "generated", "truth"), across=4)
    few = picture.quantize(128, dither=Image.Dither.NONE)
    few.save(Path(__file__).with_name("demo.png"), optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
