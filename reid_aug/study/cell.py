"""The cell: one training of a grid, as one value of each axis.

Two cells that would be the same training are the same cell: at ratio 0 nothing is drawn, so nothing
matters that says how. ``generator`` says who trained the one that draws: "given", whoever it was;
"kept", the grid, on the cell's own kept set; "whole", the grid, on all training images, as the
published low-data numbers do (the protocol ``paper``, a leak where images are left out); or a
file. ``bank`` is somebody's bank, for which nothing is drawn. ``min_score`` is what ``--min-score``
takes, several with commas.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from reid_aug.bank.methods import DEFAULT_METHOD, method_named, method_names
from reid_aug.bank.plan import CAMERAS
from reid_aug.bank.scores import scores_of_grid
from reid_aug.mixing import MODES, check_ratio, effective_keep, parse_min_score
from reid_aug.runtime.errors import UserError
from reid_aug.stages.recipe import Recipe
from reid_aug.stages.train_reid.folder import cell_name
from reid_aug.stages.train_reid.settings import LABELS, PLAIN, PRESETS, marks_of

GENERATORS = ("given", "kept", "whole")
STARTS = ("scratch", "external")


class Axis(NamedTuple):
    """What may stand on an axis, and which key of a recipe it sets."""

    kind: type
    key: str = ""
    choices: tuple[str, ...] = ()
    takes_files: bool = False


AXES = {
    "backbone": Axis(str, "train_reid.backbone"),
    "mode": Axis(str, "synthesize.mode", MODES),
    "ratio": Axis(float, "synthesize.ratio"),
    "keep": Axis(float, "data.keep"),
    "method": Axis(str, "synthesize.method", method_names()),
    "cameras": Axis(str, "synthesize.cameras", CAMERAS),
    "generator": Axis(str, choices=GENERATORS, takes_files=True),
    "bank": Axis(str, choices=("",), takes_files=True),
    "min_score": Axis(str),
    "preset": Axis(str, "train_reid.preset", tuple(PRESETS)),
    "label": Axis(str, "train_reid.generated_label", LABELS),
    "erase": Axis(bool, "train_reid.erase"),
    "start": Axis(str, choices=STARTS),
    "seed": Axis(int, "seed"),
}


ORDER = (  # of the cells of a block, outermost first
    "seed", "start", "preset", "erase", "backbone", "keep", "label", "method", "cameras",
    "generator", "bank", "min_score", "mode", "ratio",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """One training of a grid."""

    backbone: str
    mode: str
    ratio: float
    keep: float
    seed: int
    method: str = DEFAULT_METHOD
    cameras: str = "source"
    generator: str = "given"
    bank: str = ""
    min_score: str = ""
    erase: bool = False
    start: str = "scratch"
    preset: str = PLAIN
    label: str = LABELS[0]

    @property
    def name(self) -> str:
        """Its folder.

        >>> Cell("resnet18", "supplement", 4.0, 0.2, 1, method="renderer", cameras="target").name
        'resnet18-supplement4-keep0.2-seed1-renderer-cameras'
        """
        least = self.least_scores
        own = cell_name(self.backbone, self.mode, self.ratio, self.keep, self.seed, least)
        marks = {
            self.method: self.method != DEFAULT_METHOD,
            "cameras": self.cameras == "target",
            self._generator_mark: self.generator != "given",
            _file_mark(self.bank): self.bank != "",
            "erase": self.erase,
            "external": self.start == "external",
        }
        own_marks = [mark for mark, is_set in marks.items() if is_set]
        return "-".join([own, *own_marks, *marks_of(self.preset, self.label, self.ratio)])

    @property
    def real_part(self) -> float:
        """The part of the real images that it sees."""
        return effective_keep(self.ratio, self.mode, self.keep)

    @property
    def generator_part(self) -> float:
        """The part of the real images that trains its generator, where the grid does."""
        return 1.0 if self.generator == "whole" else self.real_part

    @property
    def trains_generator(self) -> bool:
        """Whether the grid trains the generator that draws for it."""
        return self.is_drawn and self.generator in ("kept", "whole")

    @property
    def is_drawn(self) -> bool:
        """Whether a generator draws for it."""
        return self.ratio > 0 and method_named(self.method).needs_checkpoint and not self.bank

    @property
    def least_scores(self) -> dict[str, float]:
        """What a generated image must have to be used, by the name of the score."""
        return parse_min_score(self.min_score.split(",") if self.min_score else (), "min_score")

    @property
    def bank_marks(self) -> tuple[str, ...]:
        """What tells its bank from others of the same kept set; nothing for the plain one."""
        marks = {
            self.method: self.method != DEFAULT_METHOD,
            self._generator_mark: self.generator != "given",
            "target": self.cameras == "target",
        }
        return tuple(mark for mark, is_set in marks.items() if is_set)

    @property
    def _generator_mark(self) -> str:
        return self.generator if self.generator in GENERATORS else _file_mark(self.generator)

    def plain(self) -> "Cell":
        """The same training, without what cannot matter to it.

        Raises:
            UserError: If it asks for a score that a grid does not make, or a ratio that cannot be.
        """
        check_ratio(self.ratio, self.mode)
        erase = self.erase and not PRESETS[self.preset]["erase"]
        drawn: dict[str, Any] = {
            "method": DEFAULT_METHOD,
            "cameras": "source",
            "generator": "given",
        }
        cell = replace(self, erase=erase, min_score=self._plain_scores())
        if not self.ratio:
            alike: dict[str, Any] = {"mode": MODES[0], "label": LABELS[0], **drawn}
            return replace(cell, bank="", min_score="", **alike)
        if self.bank:
            return replace(cell, **drawn)
        method = method_named(self.method)
        cameras = self.cameras if method.moves_cameras else "source"
        if not method.needs_checkpoint:
            return replace(cell, cameras=cameras, generator="given")
        is_whole = self.generator == "whole" and self.real_part == 1
        return replace(cell, cameras=cameras, generator="kept" if is_whole else self.generator)

    def _plain_scores(self) -> str:
        """The least scores as one text, the same for the same scores."""
        least = self.least_scores
        for name in least if not self.bank else ():
            if name not in (known := scores_of_grid()):
                raise UserError(
                    f"min_score must be of {', '.join(known)}, which a grid makes itself, "
                    f"got {name!r}; for another score, name a bank that has it: bank = [FILE]"
                )
        return ",".join(f"{name}={value:g}" for name, value in sorted(least.items()))


def _file_mark(file: str) -> str:
    """What stands for a file in the name of a folder: its own name, after that of its folder.

    >>> _file_mark("runs/half/bank.h5"), _file_mark("mine.h5")
    ('half-bank', 'mine')
    """
    parts = Path(file).with_suffix("").parts[-2:] if file else ()
    return re.sub(r"[^\w.-]", "_", "-".join(part.strip("/") for part in parts)).strip("-.")


def cell_recipe(recipe: Recipe, cell: Cell) -> Recipe:
    """The recipe with the values of a cell."""
    mix = {key: getattr(cell, key) for key in ("mode", "ratio", "method", "cameras")}
    trained = recipe.with_preset(cell.preset).train_reid
    own: dict[str, Any] = {"backbone": cell.backbone, "generated_label": cell.label}
    return replace(
        recipe,
        seed=cell.seed,
        data=replace(recipe.data, keep=cell.keep),
        synthesize=replace(recipe.synthesize, **mix),
        train_reid=replace(trained, **own, erase=cell.erase or trained.erase),
    )
