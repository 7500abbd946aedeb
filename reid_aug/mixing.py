"""The mix: the training set of a re-ID network, made of real and generated images.

There are two modes. ``supplement`` adds ratio * N generated images to the N real images of the kept
set. ``replace`` keeps 1 - ratio of the real images, and adds images from the bank of that smaller
kept set up to the original number: the experiment of the PATN paper, with the same code.

A generated image keeps the identity of its source. The number of identities, and with it the
classifier, does not depend on the ratio.

Scores of the bank may filter its rows (``min_score``). The ratio gives every identity the same
seats as without a filter; an identity fills them with its first rows of the whole bank that pass. A
bank that is larger than the ratio requires is a reserve. Seats without a row that passes stay
empty, and the note of the mix counts them.

:class:`Mix` is the list of images with their provenance. :class:`MixDataset` is the same list for a
torch ``DataLoader``.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from reid_aug.bank import Bank, BankAttributes
from reid_aug.bank.scores import needs_of_scores
from reid_aug.data.dataset import Dataset, PersonImage, check_keep, kept, open_image, share
from reid_aug.data.provenance import dataset_sha256, names_sha256
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.files import new_name, sha256

LARGEST_RATIO = 1_000_000  # a bank of it would hold 25 GB per real image of 128 x 64
MODES = ("supplement", "replace")
IN_ANOTHER = "make the right bank in another folder with"


class TooFewImagesError(UserError):
    """A bank is smaller than the mix requires; its remedy extends the bank."""


def check_ratio(ratio: float, mode: str) -> None:
    """Raise a UserError unless ``ratio`` is valid in ``mode``."""
    if mode not in MODES:
        raise UserError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if not (math.isfinite(ratio) and ratio >= 0):
        raise UserError(f"ratio must be 0 or a positive number, got {ratio}")
    if ratio > LARGEST_RATIO:
        raise UserError(
            f"ratio must be at most {LARGEST_RATIO:,} generated images per real one, got {ratio:g}"
        )
    if mode == "replace" and ratio >= 1:
        raise UserError(
            f"ratio must be below 1 in mode replace, where 1 - ratio is kept, got {ratio}"
        )


def effective_keep(ratio: float, mode: str, keep: float) -> float:
    """The part of the real images in the mix: ``keep``, or 1 - ratio in mode replace."""
    check_ratio(ratio, mode)
    check_keep(keep)
    if mode == "supplement":
        return keep
    if keep != 1:
        raise UserError(
            f"keep must be 1 in mode replace, which keeps 1 - ratio itself, got {keep}; leave keep "
            f"out"
        )
    return float(1 - Fraction(str(ratio)))


def share_out(
    images: Sequence[PersonImage], ratio: float, mode: str, keep: float, keep_seed: int
) -> tuple[tuple[PersonImage, ...], int]:
    """The real images of a mix, in seat order, and the number of generated images.

    Args:
        images: all real training images.
    """
    real = kept(images, effective_keep(ratio, mode, keep), keep_seed)
    if mode == "replace":
        return real, len(images) - len(real)
    identities = len({image.pid for image in real})
    return real, share(ratio, len(real), at_least=identities) if ratio else 0


def floor_note(images: int, real: int, generated: int, ratio: float, mode: str) -> str:
    """A note if the minimum of one image per identity changes the counts of a ratio; else "".

    Args:
        images: number of all real images.
        real: number of the real images in the mix.
        generated: number of the generated images in the mix.
    """
    if mode == "replace":
        wanted = share(float(1 - Fraction(str(ratio))), images, at_least=0)
        is_more = real > wanted
        return f"; every identity keeps one, so {real} and not {wanted} stay" if is_more else ""
    wanted = share(ratio, real, at_least=0)
    if generated <= wanted:
        return ""
    return f"; every identity gets one, so more than the {wanted} of ratio {ratio:g}"


class Mix:
    """A training set: the real images of the kept set, then the first rows of the bank.

    An index below ``len(mix.real)`` stands for a real image, a larger one for a generated image. A
    mix is not a dataset of torch: ``DataLoader(mix)`` fails, as a mix has no items. Use
    ``DataLoader(MixDataset(mix))`` (:class:`MixDataset`).

    Args:
        real: all real training images.
        bank: the generated images; may be None at ratio 0.
        ratio: generated images per real image.
        mode: one of ``MODES``.
        keep: the part of the real images in the kept set, above 0 and at most 1.
        keep_seed: the seed that chooses the kept set.
        min_score: the smallest value of each named score that a row needs to be used.

    Raises:
        UserError: If a bank is needed and there is none, it belongs to another kept set, or it
            holds too few images; the message contains the command that makes the right one.
    """

    def __init__(
        self,
        real: Sequence[PersonImage],
        bank: Bank | None = None,
        ratio: float = 0.0,
        mode: str = "supplement",
        keep: float = 1.0,
        keep_seed: int = 0,
        min_score: Mapping[str, float] | None = None,
    ) -> None:
        self.real, seats = share_out(real, ratio, mode, keep, keep_seed)
        self.seats = seats
        self.bank = bank
        self.ratio, self.keep, self.keep_seed = ratio, keep, keep_seed
        self.mode = mode if ratio else MODES[0]  # ratio 0 is the same in both modes
        self.note = floor_note(len(real), len(self.real), seats, ratio, mode)
        self.min_score: dict[str, dict[str, Any]] = {}
        self._rows: Sequence[int] = range(seats)
        if seats:
            options = {"ratio": f"{ratio:g}"} | ({"mode": mode} if mode == "replace" else {})
            options |= {"keep": f"{keep:g}"} if keep != 1 else {}
            options |= {"set": f"data.keep_seed={keep_seed}"} if keep_seed else {}
            self._check_bank(Remedy(("synthesize",), options))
            self._filter(min_score or {})
        self.generated = len(self._rows)
        if empty := seats - self.generated:
            self.note += f"; {empty} seats stay empty"

    def _filter(self, min_score: Mapping[str, float]) -> None:
        """Choose the rows with sufficient scores, and record the origin of the scores."""
        bank = self.bank
        if bank is None or not min_score:
            return
        passes = np.ones(len(bank), bool)
        for name, least in sorted(min_score.items()):
            passes &= _scores(bank, name) >= least
            self.min_score[name] = {"least": least, **bank.about_scores[name]}
        left = Counter(bank.rows.pid[: self.seats].tolist())
        chosen = []
        for row in np.flatnonzero(passes).tolist():
            pid = int(bank.rows.pid[row])
            if left[pid] > 0:
                left[pid] -= 1
                chosen.append(row)
        if not chosen:
            asked = ", ".join(f"{name}={least:g}" for name, least in sorted(min_score.items()))
            raise UserError(
                f"{bank.path}: no row passes the filter {asked}",
                Remedy(
                    ("bank", "show"),
                    {"bank": str(bank.path)},
                    words="lower it, and look at the scores with",
                ),
            )
        self._rows = chosen

    @property
    def generated_rows(self) -> Sequence[int]:
        """The rows of the bank in the mix, ascending; the first ones if there is no filter."""
        return self._rows

    def rows_sha256(self) -> str | None:
        """A hash of the generated images and their provenance; None without generated images."""
        if self.bank is None or not self.generated:
            return None
        if not self.min_score:
            return self.bank.rows_sha256(self.generated)
        return self.bank.chosen_sha256(self._rows)

    def _check_bank(self, remedy: Remedy) -> None:
        need = f"{self.seats} generated images of a kept set of {len(self.real)}"
        if self.bank is None:
            raise UserError(f"the mix needs {need}, got no bank", remedy)
        if self.bank.attributes.kept_sha256 != names_sha256(self.real):
            got, use = self._other_kept_set(self.bank.attributes)
            raise UserError(
                f"{self.bank.path}: the mix needs {need}, got a bank of {got}",
                replace(
                    remedy,
                    options={**remedy.options, **_elsewhere(self.bank)},
                    words=f"{use}{IN_ANOTHER}",
                    otherwise=_generator_too(self.bank, remedy),
                ),
            )
        unknown = {*self.bank.rows.pid.tolist()} - {image.pid for image in self.real}
        if unknown:
            raise UserError(
                f"{self.bank.path}: must show identities of the kept set, got pid {min(unknown)}"
            )
        if len(self.bank) < self.seats:
            raise TooFewImagesError(
                f"{self.bank.path}: the mix needs {need}, got {len(self.bank)} images",
                replace(remedy, words="extend it with"),
            )
        self.bank.check_pixels()

    def _other_kept_set(self, bank: BankAttributes) -> tuple[str, str]:
        """The kept set of a bank that does not fit, and the words that would make the mix fit."""
        if bank.mode != self.mode and bank.mode == "replace":
            made_for = f"mode replace, ratio {bank.ratio:g}"
            return f"another kept set ({made_for})", f"use it with {made_for}, or "
        is_keep = self.mode != "replace" and bank.keep != self.keep
        use = f"use it with keep {bank.keep:g}, or " if is_keep else ""
        return f"another kept set (keep {bank.keep:g})", use

    def __len__(self) -> int:
        return len(self.real) + self.generated

    def is_generated(self, index: int) -> bool:
        """Whether the image at ``index`` comes from the bank."""
        if not 0 <= index < len(self):
            raise IndexError(f"index must be in 0..{len(self) - 1}, got {index}")
        return index >= len(self.real)

    def identity(self, index: int) -> tuple[int, int]:
        """(pid, camid) of an image, as in file names."""
        if not self.is_generated(index):
            return self.real[index].pid, self.real[index].camid
        bank, row = self._bank_row(index)
        return int(bank.rows.pid[row]), int(bank.rows.camid[row])

    def name(self, index: int) -> str:
        """The name of an image: a file name, or "bank:ROW"."""
        if not self.is_generated(index):
            return self.real[index].name
        return f"bank:{self._bank_row(index)[1]}"

    def image(self, index: int) -> np.ndarray:
        """An image in its stored size, (H, W, 3) uint8 RGB."""
        if not self.is_generated(index):
            return open_image(self.real[index].path)
        bank, row = self._bank_row(index)
        return bank.image(row)

    def image_sha256(self, index: int) -> str:
        """The SHA-256 of a real image's file, or of a generated image's pixels."""
        if not self.is_generated(index):
            return sha256(self.real[index].path)
        return hashlib.sha256(self.image(index).tobytes()).hexdigest()

    def _bank_row(self, index: int) -> tuple[Bank, int]:
        if self.bank is None:
            raise IndexError(f"index must be below {len(self)}, got {index}")
        return self.bank, self._rows[index - len(self.real)]


class MixDataset:
    """A mix as a map-style dataset for any torch ``DataLoader``, with or without workers.

    An item is a dictionary: "img" (the transformed image), "pid" (a class label 0..K-1), "camid",
    "is_generated" (bool) and "name" (as :meth:`Mix.name`). The classes are the pids of the real
    images in ascending order: ``classes[label]`` is a pid.

    The stored images may differ in size: those of the bank have the size in its plan. A batch needs
    images of one size, so give a transform that resizes if the sizes differ.

    Args:
        mix: the training set.
        transform: a function of a ``PIL.Image``, as the transforms of torchvision. Without one, the
            image becomes a float32 tensor (3, H, W) in [0, 1].

    Example:
        >>> loader = DataLoader(MixDataset(mix), batch_size=64, shuffle=True)  # doctest: +SKIP
    """

    def __init__(self, mix: Mix, transform: Callable[[Image.Image], Any] | None = None) -> None:
        self.mix, self.transform = mix, transform or to_tensor
        self.classes = tuple(sorted({image.pid for image in mix.real}))
        self._labels = {pid: label for label, pid in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self.mix)

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = int(index)  # a sampler may give numpy integers or tensors
        pid, camid = self.mix.identity(index)
        return {
            "img": self.transform(Image.fromarray(self.mix.image(index))),
            "pid": self._labels[pid],
            "camid": camid,
            "is_generated": self.mix.is_generated(index),
            "name": self.mix.name(index),
        }


def to_tensor(image: Image.Image) -> Any:
    """An RGB image as a float32 tensor (3, H, W) in [0, 1]."""
    import torch  # imported here: the rest of the module needs no torch

    pixels = torch.from_numpy(np.array(image, np.uint8))
    return pixels.permute(2, 0, 1).float().div(255)


def other_dataset(bank: Bank, dataset: Dataset) -> str:
    """The fault of a bank that was made for another data set; "" if the data set is the same.

    The leak status of a bank (``generator_data``) is valid for its own data set only.
    """
    wrong = _other_dataset(bank, dataset)
    return f"{wrong}; {_own_bank(bank)}" if wrong else ""


def require_same_dataset(bank: Bank | None, dataset: Dataset) -> None:
    """Raise a UserError if there is a bank that was made for another data set."""
    if bank and (wrong := _other_dataset(bank, dataset)):
        raise UserError(f"{bank.path}: {wrong}", _own_bank(bank))


def _own_bank(bank: Bank) -> Remedy:
    """The command that makes a bank of the data set in use, beside a bank of another one."""
    words = f"give its own with --data DIR, or {IN_ANOTHER}"
    remedy = Remedy(("synthesize",), _elsewhere(bank), words=words)
    return replace(remedy, otherwise=_generator_too(bank, remedy))


def _generator_too(bank: Bank, remedy: Remedy) -> str:
    """What a bank in another folder needs besides, if a generator makes it."""
    from reid_aug.bank.methods import find_method  # loads torch

    method = find_method(bank.attributes.plan.method)
    if not (method and method.needs_checkpoint) or "generator" in remedy.options:
        return ""
    return " (a generator: reid-aug train-generator there before, or --generator FILE|demo)"


def _elsewhere(bank: Bank) -> dict[str, str]:
    """A run folder beside that of a bank, which does not exist yet."""
    return {"out": str(new_name(bank.path.parent))}


def _other_dataset(bank: Bank, dataset: Dataset) -> str:
    wanted, found = dataset_sha256(dataset), bank.attributes.dataset_sha256
    if found == wanted:
        return ""
    return f"must be a bank of this data set, {wanted[:12]}, got one of {found[:12]}"


def _scores(bank: Bank, name: str) -> np.ndarray:
    """A score of every row, (N,).

    Raises:
        UserError: If the bank has no such score, or the score is missing for some rows.
    """
    if name not in bank.scores:
        found = ", ".join(bank.scores) or "no score at all"
        raise UserError(
            f"{bank.path}: must hold the score {name}, got {found}{_makers(name)}",
            score_remedy(bank, name),
        )
    if np.isnan(bank.scores[name]).any():
        count = int(np.isnan(bank.scores[name]).sum())
        raise UserError(
            f"{bank.path}: must hold the score {name} of every row, got {count} rows without"
            f"{_makers(name)}",
            score_remedy(bank, name),
        )
    return bank.scores[name]


def how_to_score(bank: Bank, name: str) -> str:
    """The remedy for a score that is missing in a bank."""
    return f"{score_remedy(bank, name) or _makers(name).removeprefix('; ')}"


def score_remedy(bank: Bank, name: str) -> Remedy | None:
    """The command that makes a score; None for a score that no command of the package makes."""
    needs = needs_of_scores()
    if name not in needs:
        return None
    return Remedy(("bank", "score"), {"bank": str(bank.path), **needs[name]})


def scores_remedy(bank: Bank, names: Iterable[str], places: Mapping[str, str]) -> Remedy:
    """The command that makes several scores again.

    Args:
        names: the scores; those that no command of the package makes are left out.
        places: further options of the command, as {"data": "crops"}.
    """
    needs = needs_of_scores()
    options = {key: value for name in names for key, value in needs.get(name, {}).items()}
    return Remedy(
        ("bank", "score"), {"bank": str(bank.path), **places, **options}, words="make them with"
    )


def _makers(name: str) -> str:
    """The known scores as the end of an error about a score that is not among them; else ""."""
    needs = needs_of_scores()
    return "" if name in needs else f"; reid-aug bank score makes {', '.join(needs)}"


def parse_min_score(texts: Iterable[str], what: str = "--min-score") -> dict[str, float]:
    """The scores of ``NAME=VALUE`` texts; error messages begin with ``what``.

    >>> parse_min_score(["identity=0.6", "sharpness=0.3"])
    {'identity': 0.6, 'sharpness': 0.3}
    """
    found: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            if not re.fullmatch(r"[\w.-]+", name.strip()):
                raise ValueError(name)
            found[name.strip()] = float(value)
        except ValueError:
            raise UserError(f"{what} must be NAME=VALUE, got {text!r}") from None
        if not math.isfinite(found[name.strip()]):
            raise UserError(f"{what} must be NAME=VALUE with a finite value, got {text!r}")
    return found
