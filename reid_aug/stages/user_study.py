"""The user study of the paper, for anyone: can people tell generated crops from real ones?

Three files. ``user_study.html`` is one page that needs nothing else: it shows real and generated
crops in random order, each for a fixed time, and gives the answers as a file. It does not know
which is which; that is in ``user_study.json``, which stays with whoever asks. ``answers-*.json`` is
what comes back.

    R2G   the part of real crops that were taken for generated
    G2R   the part of generated crops that were taken for real; 50 % of either is guessing

The first few crops are for practice and are not counted.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reid_aug.bank import Bank
from reid_aug.data.dataset import PersonImage, read_image
from reid_aug.image_quality import View
from reid_aug.image_quality.generated_images import generated_files, open_generated
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.files import write_json
from reid_aug.runtime.pages import picture, write_page

FORMAT, ANSWERS = "reid_aug.user_study/1", "reid_aug.answers/1"
PAGE, KEY = "user_study.html", "user_study.json"
REAL, GENERATED = "real", "generated"


@dataclass(frozen=True, slots=True)
class UserStudyConfig:
    """How many crops of either kind, how many more of either for practice, and seconds each."""

    count: int = 50
    practice: int = 5
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.count < 1 or self.practice < 0:
            raise UserError(
                f"count must be 1 or more and practice 0 or more, got {self.count} and "
                f"{self.practice}"
            )
        if not 0.05 <= self.seconds <= 60:
            raise UserError(f"seconds must be in 0.05..60, got {self.seconds}")

    @property
    def needed(self) -> int:
        """Crops of either kind."""
        return self.count + self.practice


@dataclass(frozen=True, slots=True)
class Outcome:
    """What people answered: of so many crops of a kind, how many were taken for the other."""

    people: int
    real: int
    real_as_generated: int
    generated: int
    generated_as_real: int

    @property
    def r2g(self) -> float:
        """Part of real crops taken for generated."""
        return self.real_as_generated / self.real

    @property
    def g2r(self) -> float:
        """Part of generated crops taken for real."""
        return self.generated_as_real / self.generated


Crops = tuple[list[np.ndarray], list[np.ndarray]]


def crops_of_bank(images: Sequence[PersonImage], bank: Bank, needed: int, seed: int) -> Crops:
    """Real crops and rows of a bank at the bank's size, drawn at random.

    Raises:
        UserError: If there are fewer than ``needed`` of either.
    """
    rng = np.random.default_rng([seed, 8])
    generated = [bank.image(place) for place in _some(rng, len(bank), needed)]
    return _photographs(rng, images, (bank.height, bank.width), needed), generated


def crops_of_folder(
    images: Sequence[PersonImage], folder: Path, size: tuple[int, int], needed: int, seed: int
) -> Crops:
    """Real crops and somebody's drawings, as :func:`crops_of_bank`."""
    rng = np.random.default_rng([seed, 8])
    files = sorted(generated_files(folder).values())
    drawn = [open_generated(files[place], *size) for place in _some(rng, len(files), needed)]
    generated = [each.generated if isinstance(each, View) else each for each in drawn]
    return _photographs(rng, images, size, needed), generated


def _photographs(
    rng: np.random.Generator, images: Sequence[PersonImage], size: tuple[int, int], needed: int
) -> list[np.ndarray]:
    return [read_image(images[place].path, *size) for place in _some(rng, len(images), needed)]


def _some(rng: np.random.Generator, of: int, needed: int) -> list[int]:
    if of < needed:
        raise UserError(
            f"a study of {needed} crops needs as many of either kind, got {of}; ask for fewer with "
            f"--count and --practice"
        )
    return rng.choice(of, needed, replace=False).tolist()


def write_user_study(
    real: Sequence[np.ndarray],
    generated: Sequence[np.ndarray],
    config: UserStudyConfig,
    folder: Path,
    seed: int,
) -> Path:
    """Write the page and the key into ``folder``; the path of the page.

    Args:
        real: ``config.needed`` crops (H, W, 3) uint8, all of one size, as are ``generated``.
        generated: as many.
        config: how many of them are for practice, and how long each is shown.
        folder: the run folder.
        seed: of the order.

    Raises:
        UserError: If the folder holds another study.
    """
    crops, truth = _shuffled(real, generated, config, np.random.default_rng([seed, 7]))
    images = [_png(crop) for crop in crops]
    shown = {"practice": 2 * config.practice, "seconds": config.seconds, "images": images}
    name = hashlib.sha256(json.dumps([shown, truth]).encode()).hexdigest()
    key = {"format": FORMAT, "study": name, "practice": 2 * config.practice, "truth": truth}
    if (folder / KEY).is_file() and read_key(folder / KEY) != key:
        raise UserError(
            f"{folder / KEY}: holds another study, and answers to it would be lost; choose another "
            f"folder with --out, or remove the file"
        )
    write_json(folder / KEY, key)
    write_page(folder / PAGE, PAGE, study={"study": name, **shown})
    return folder / PAGE


def _shuffled(
    real: Sequence[np.ndarray],
    generated: Sequence[np.ndarray],
    config: UserStudyConfig,
    rng: np.random.Generator,
) -> tuple[list[np.ndarray], list[str]]:
    """Crops and what they are, in random order; as many of either kind for practice, first."""
    crops, truth = [], []
    for part in (slice(config.practice), slice(config.practice, config.needed)):
        some = [(crop, REAL) for crop in real[part]]
        some += [(crop, GENERATED) for crop in generated[part]]
        for place in rng.permutation(len(some)):
            crops.append(some[place][0])
            truth.append(some[place][1])
    return crops, truth


def _png(crop: np.ndarray) -> str:
    """As PNG, whichever kind it is, so that no trace of a format tells them apart."""
    return picture(crop, "PNG")


def read_key(path: Path) -> dict[str, Any]:
    """Which crop is what, as :func:`write_user_study` noted it.

    Raises:
        UserError: If there is no such file.
    """
    if not path.is_file():
        remedy = Remedy(("generator", "user-study"), words="make a study with")
        raise UserError(f"{path} is missing", remedy)
    key = _load(path, FORMAT)
    truth, practice = key.get("truth"), key.get("practice")
    if not isinstance(truth, list) or not all(one in (REAL, GENERATED) for one in truth):
        raise UserError(f"{path}: truth must be a list of {REAL!r} and {GENERATED!r}")
    if type(practice) is not int or not 0 <= practice < len(truth) or "study" not in key:
        raise UserError(
            f"{path}: must name its study and how many of {len(truth)} crops are practice, got "
            f"{practice!r}; make the study again"
        )
    return key


def count_answers(key: dict[str, Any], files: Iterable[Path]) -> Outcome:
    """Count the answers of one or more people.

    Raises:
        UserError: If a file holds no answers, those to another study, or not one to every crop.
    """
    asked = list(enumerate(key["truth"]))[key["practice"] :]
    counts = {REAL: [0, 0], GENERATED: [0, 0]}
    people = 0
    for path in files:
        given = _answers(path, key)
        people += 1
        for place, truth in asked:
            counts[truth][0] += 1
            counts[truth][1] += given[place] != truth
    return Outcome(people, *counts[REAL], *counts[GENERATED])


def _answers(path: Path, key: dict[str, Any]) -> dict[int, str]:
    if not path.is_file():
        raise UserError(f"{path} is missing; give a file that the page saved")
    found = _load(path, ANSWERS)
    if found.get("study") != key["study"]:
        raise UserError(
            f"{path}: must be answers to study {key['study'][:8]}, got {found.get('study')!r:.12}; "
            f"name its run folder with --out"
        )
    try:
        given = {int(entry["image"]): str(entry["answer"]) for entry in found["answers"]}
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: answers must be a list of image and answer") from None
    for place in range(len(key["truth"])):
        if given.get(place) not in (REAL, GENERATED):
            raise UserError(
                f"{path}: the answer to image {place} must be {REAL!r} or {GENERATED!r}, got "
                f"{given.get(place)!r:.40}"
            )
    return given


def _load(path: Path, what: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.get("format") != what:
        raise UserError(f"{path}: must be a file of format {what}")
    return content
