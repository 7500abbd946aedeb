"""The user study of the paper: how often people take generated crops for real ones.

There are three kinds of files. ``user_study.html`` is one self-contained page. It shows real and
generated crops in random order, each for a fixed time, and saves the answers as a file. It does not
hold the kind of a crop; ``user_study.json``, the key, does, and stays with the author of the study.
``answers-*.json`` are the files that participants return; ``user_study_result.json`` counts them.

    R2G   the fraction of real crops that were taken for generated
    G2R   the fraction of generated crops that were taken for real; guessing gives 50 % of both

The first crops are for practice and are not counted.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reid_aug.bank import Bank
from reid_aug.data.dataset import DISTRACTOR, PersonImage, read_image
from reid_aug.image_quality import View
from reid_aug.image_quality.generated_images import generated_files, open_generated
from reid_aug.people import is_people
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.files import write_json
from reid_aug.runtime.pages import picture, write_page
from reid_aug.runtime.random_streams import UserStudyStream
from reid_aug.runtime.records import Table, read_table
from reid_aug.runtime.regular_files import TEXT, require_regular
from reid_aug.stages.bank.opening import open_bank
from reid_aug.stages.cost import Cost
from reid_aug.stages.job import Job, Progress
from reid_aug.stages.stage import Stage

FORMAT, ANSWERS = "reid_aug.user_study/1", "reid_aug.answers/1"
PAGE, KEY, RESULT = "user_study.html", "user_study.json", "user_study_result.json"
DEVIATIONS = 1.96  # standard deviations of a 95 % interval
REAL, GENERATED = KINDS = "real", "generated"


@dataclass(frozen=True, slots=True)
class UserStudyConfig:
    """The size of a study."""

    count: int = 50
    """Real crops that are counted, and as many generated ones."""
    practice: int = 5
    """Real crops for practice, and as many generated ones."""
    seconds: float = 1.0
    """How long a crop is shown, in seconds, in [0.05, 60]."""

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
        """The number of crops of each kind, practice included."""
        return self.count + self.practice


@dataclass(frozen=True, slots=True)
class Outcome:
    """The counted answers: how many crops of each kind were shown, and taken for the other."""

    people: int
    real: int
    real_as_generated: int
    generated: int
    generated_as_real: int

    @property
    def r2g(self) -> float:
        """The fraction of real crops that were taken for generated."""
        return self.real_as_generated / self.real

    @property
    def g2r(self) -> float:
        """The fraction of generated crops that were taken for real."""
        return self.generated_as_real / self.generated

    def describe(self) -> str:
        """The outcome as lines of text, in per cent, with 95 % intervals."""
        r2g = _percent(self.real_as_generated, self.real)
        g2r = _percent(self.generated_as_real, self.generated)
        note = "intervals: 95 %, Wilson, as if all answers were independent"
        return f"people: {self.people}\nR2G: {r2g}\nG2R: {g2r}\n{note}"

    def record(self) -> dict[str, Any]:
        """The outcome as JSON values; fractions and their intervals."""
        return {
            **asdict(self),
            "r2g": self.r2g,
            "r2g_interval": wilson(self.real_as_generated, self.real),
            "g2r": self.g2r,
            "g2r_interval": wilson(self.generated_as_real, self.generated),
        }


def wilson(count: int, total: int) -> tuple[float, float]:
    """The 95 % interval of the fraction ``count / total`` (Wilson, 1927).

    >>> [round(end, 4) for end in wilson(0, 10)]
    [0.0, 0.2775]
    """
    part, width = count / total, DEVIATIONS**2 / total
    middle = part + width / 2
    half = DEVIATIONS * math.sqrt(part * (1 - part) / total + width / (4 * total))
    return max(0.0, (middle - half) / (1 + width)), min(1.0, (middle + half) / (1 + width))


def _percent(count: int, total: int) -> str:
    low, high = wilson(count, total)
    return (
        f"{100 * count / total:.2f} %, {100 * low:.1f} to {100 * high:.1f} % ({count} of {total})"
    )


@dataclass(frozen=True)
class UserStudyJob(Job):
    """A study to be written."""

    real: list[np.ndarray]
    """``config.needed`` real crops, (H, W, 3) uint8."""
    generated: list[np.ndarray]
    """As many generated crops."""
    config: UserStudyConfig
    folder: Path
    """The run folder."""
    seed: int
    are_photographs: bool = True
    """Whether the real crops are photographs; else they are rendered."""

    @property
    def path(self) -> Path:
        """The page."""
        return self.folder / PAGE

    def describe(self) -> str:
        """What is written, as text."""
        needed = self.config.needed
        return f"{needed} real and {needed} generated crops; do not hand out the key, {KEY}"

    def cost(self, device: torch.device) -> Cost:
        """Time and size of the page, from one crop of each kind."""
        begin = time.perf_counter()
        size = len(_png(self.real[0])) + len(_png(self.generated[0]))
        seconds = (time.perf_counter() - begin) * self.config.needed
        return Cost(seconds, size * self.config.needed)

    def run(self, progress: Progress | None = None) -> Path:
        """Write the page and the key into the run folder; the path of the page.

        Raises:
            UserError: If the folder holds another study.
        """
        crops = self.real, self.generated
        return write_user_study(*crops, self.config, self.folder, self.seed, self.are_photographs)


def prepare(
    stage: Stage, config: UserStudyConfig, bank: str | None = None, images: str | None = None
) -> UserStudyJob:
    """Choose and read the crops of a study; nothing is written.

    Args:
        stage: data set, run folder and seed.
        config: the size of the study.
        bank: the bank of the generated crops; None is that of the run folder.
        images: a folder of generated images, instead of a bank.

    Raises:
        UserError: If an input is missing, or there are too few crops of either kind.
    """
    data, seed, needed = stage.recipe.data, stage.recipe.seed, config.needed
    if images:
        size = data.height, data.width
        people = [image for image in stage.dataset.gallery if image.pid != DISTRACTOR]
        real, generated = crops_of_folder(people, Path(images), size, needed, seed)
    else:
        source = open_bank(stage, bank)
        real, generated = crops_of_bank(stage.dataset.train, source, needed, seed)
    return UserStudyJob(real, generated, config, stage.run.path, seed, not is_people(stage.root))


def outcome(folder: Path, answers: Iterable[Path]) -> Outcome:
    """Count the answers to the study in a run folder, and write them into ``RESULT``.

    See :func:`count_answers`.
    """
    key = read_key(folder / KEY)
    found = count_answers(key, answers)
    write_json(folder / RESULT, {"study": key["study"], **found.record()})
    return found


Crops = tuple[list[np.ndarray], list[np.ndarray]]


def crops_of_bank(images: Sequence[PersonImage], bank: Bank, needed: int, seed: int) -> Crops:
    """Real crops and rows of a bank, chosen at random, at the size of the bank.

    Raises:
        UserError: If there are fewer than ``needed`` of either kind.
    """
    rng = np.random.default_rng([seed, UserStudyStream.CROPS])
    generated = [bank.image(place) for place in _some(rng, len(bank), needed)]
    return _photographs(rng, images, (bank.height, bank.width), needed), generated


def crops_of_folder(
    images: Sequence[PersonImage], folder: Path, size: tuple[int, int], needed: int, seed: int
) -> Crops:
    """Real crops and generated images of a folder, as :func:`crops_of_bank`.

    Args:
        size: (height, width) of the crops, in pixels.
    """
    rng = np.random.default_rng([seed, UserStudyStream.CROPS])
    files = sorted(generated_files(folder).values())
    found = [open_generated(files[place], *size) for place in _some(rng, len(files), needed)]
    generated = [each.generated if isinstance(each, View) else each for each in found]
    return _photographs(rng, images, size, needed), generated


def _photographs(
    rng: np.random.Generator, images: Sequence[PersonImage], size: tuple[int, int], needed: int
) -> list[np.ndarray]:
    return [read_image(images[place].path, *size) for place in _some(rng, len(images), needed)]


def _some(rng: np.random.Generator, of: int, needed: int) -> list[int]:
    if of < needed:
        raise UserError(
            f"a study of {needed} crops needs as many of either kind, got {of}; choose fewer with "
            f"--count and --practice"
        )
    result: list[int] = rng.choice(of, needed, replace=False).tolist()
    return result


def write_user_study(
    real: Sequence[np.ndarray],
    generated: Sequence[np.ndarray],
    config: UserStudyConfig,
    folder: Path,
    seed: int,
    are_photographs: bool = True,
) -> Path:
    """Write the page and the key into ``folder``; the path of the page.

    Args:
        real: ``config.needed`` crops (H, W, 3) uint8 of one size.
        generated: as many crops of the same size.
        config: the size of the study.
        folder: the run folder.
        seed: decides the order of the crops.
        are_photographs: whether the real crops are photographs; else the page calls them rendered.

    Raises:
        UserError: If the folder holds another study.
    """
    rng = np.random.default_rng([seed, UserStudyStream.ORDER])
    crops, truth = _shuffled(real, generated, config, rng)
    images = [_png(crop) for crop in crops]
    shown = {"practice": 2 * config.practice, "seconds": config.seconds, "images": images}
    name = hashlib.sha256(json.dumps([shown, truth]).encode()).hexdigest()
    key = {"format": FORMAT, "study": name, "practice": 2 * config.practice, "truth": truth}
    if (folder / KEY).exists() and read_key(folder / KEY) != key:
        raise UserError(
            f"{folder / KEY}: holds another study, and answers to it would be lost; choose another "
            f"folder with --out, or remove the file"
        )
    write_json(folder / KEY, key)
    kind = "photographs" if are_photographs else "rendered from models of people (called real here)"
    write_page(folder / PAGE, PAGE, study={"study": name, **shown}, real=kind)
    return folder / PAGE


def _shuffled(
    real: Sequence[np.ndarray],
    generated: Sequence[np.ndarray],
    config: UserStudyConfig,
    rng: np.random.Generator,
) -> tuple[list[np.ndarray], list[str]]:
    """The crops and their kinds in random order; those for practice come first."""
    crops, truth = [], []
    for part in (slice(config.practice), slice(config.practice, config.needed)):
        some = [(crop, REAL) for crop in real[part]]
        some += [(crop, GENERATED) for crop in generated[part]]
        for place in rng.permutation(len(some)):
            crops.append(some[place][0])
            truth.append(some[place][1])
    return crops, truth


def _png(crop: np.ndarray) -> str:
    """A crop as PNG; both kinds have the same format, so traces of it do not tell them apart."""
    return picture(crop, "PNG")


def read_key(path: Path) -> dict[str, Any]:
    """Read the key: the kind of every crop, as :func:`write_user_study` wrote it.

    Raises:
        UserError: If there is no such file, or it is damaged.
    """
    require_regular(path, TEXT, Remedy(("generator", "user-study"), words="make a study with"))
    key = read_table(path, "the key of a user study", "make the study again", FORMAT)
    truth = key.entries("truth", f"a list of {REAL!r} and {GENERATED!r}", KINDS.__contains__)
    practice = key.whole("practice", 0, len(truth) - 1)
    if {*truth[practice:]} != {*KINDS}:
        raise key.refused("truth", "crops of both kinds beside those for practice")
    return {"format": FORMAT, "study": key.text("study"), "practice": practice, "truth": truth}


def count_answers(key: dict[str, Any], files: Iterable[Path]) -> Outcome:
    """Count the answers of one or more people.

    Args:
        key: as :func:`read_key` returns it.
        files: one file of answers per person. Files with equal answers and times are one person's,
            and count once.

    Raises:
        UserError: If a file holds no answers, answers to another study, or no answer to some crop.
    """
    counted = list(enumerate(key["truth"]))[key["practice"] :]
    counts = {REAL: [0, 0], GENERATED: [0, 0]}
    people: set[str] = set()
    for path in files:
        found = _read_answers(path)
        given = _given_answers(found, path, key)
        same = json.dumps(found.content["answers"], sort_keys=True)
        if same in people:
            continue
        people.add(same)
        for place, truth in counted:
            counts[truth][0] += 1
            counts[truth][1] += given[place] != truth
    return Outcome(len(people), *counts[REAL], *counts[GENERATED])


def _read_answers(path: Path) -> Table:
    return read_table(path, "answers to a user study", "give a file that the page saved", ANSWERS)


def _given_answers(found: Table, path: Path, key: dict[str, Any]) -> dict[int, str]:
    if found.text("study") != key["study"]:
        raise UserError(
            f"{path}: must be answers to study {key['study'][:8]}, got "
            f"{found.text('study')[:8]!r}; name its run folder with --out"
        )
    given = {entry.whole("image"): entry.text("answer") for entry in found.tables("answers")}
    for place in range(len(key["truth"])):
        if given.get(place) not in KINDS:
            raise UserError(
                f"{path}: the answer to image {place} must be {REAL!r} or {GENERATED!r}, got "
                f"{given.get(place)!r:.40}"
            )
    return given
