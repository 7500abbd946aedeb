"""The cell: one training of a grid, as one value of each axis.

Two cells with the same training are the same cell: at ratio 0 there are no generated images, so the
axes of generated images do not matter. The value of ``generator`` is

    given     the generator given on the command line
    kept      a generator that the grid trains on the kept set of the cell
    whole     a generator that the grid trains on all training images, as for the published low-data
              numbers (the protocol ``paper``; a leak where the kept set leaves images out)
    a path    the generator in this file

``replicate`` repeats the whole pipeline. The replicate with number r chooses its kept set, trains
its generator, makes its bank and trains its network with r added to the seeds of the recipe.
Without a replicate, all trainings of a grid share the kept sets, generators and banks, and only
their last training varies with ``seed``.

``poses`` chooses the target poses: a policy, "library" or a keypoint file (``synthesize.poses``).

``bank`` is the path of an existing bank, or "". ``min_score`` has the form of ``--min-score``, with
commas between several scores.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from reid_aug.bank.methods import DEFAULT_METHOD, method_named, method_names
from reid_aug.bank.methods.background import BACKGROUNDS
from reid_aug.bank.plan import POSE_POLICIES, ROW_CAMERAS
from reid_aug.bank.scores import scores_of_grid
from reid_aug.mixing import MODES, check_ratio, effective_keep, parse_min_score
from reid_aug.people.pose_library import LIBRARY
from reid_aug.runtime.errors import UserError
from reid_aug.stages.recipe import Recipe
from reid_aug.stages.train_reid.folder import cell_name
from reid_aug.stages.train_reid.settings import LABELS, PLAIN, PRESETS, marks_of

GENERATORS = ("given", "kept", "whole")
STARTS = ("scratch", "external")
POSE_SOURCES = (*POSE_POLICIES, LIBRARY)


class Axis(NamedTuple):
    """An axis of a grid."""

    kind: type  # of its values
    key: str = ""  # the key of the recipe that it sets, "" for none
    choices: tuple[str, ...] = ()  # the allowed values, () for any
    takes_files: bool = False  # whether the path of a file is allowed too


AXES = {
    "backbone": Axis(str, "train_reid.backbone"),
    "mode": Axis(str, "synthesize.mode", MODES),
    "ratio": Axis(float, "synthesize.ratio"),
    "keep": Axis(float, "data.keep"),
    "method": Axis(str, "synthesize.method", method_names()),
    "cameras": Axis(str, "synthesize.cameras", ROW_CAMERAS),
    "background": Axis(str, "synthesize.background", BACKGROUNDS),
    "poses": Axis(str, "synthesize.poses", POSE_SOURCES, takes_files=True),
    "generator": Axis(str, choices=GENERATORS, takes_files=True),
    "bank": Axis(str, choices=("",), takes_files=True),
    "min_score": Axis(str),
    "preset": Axis(str, "train_reid.preset", tuple(PRESETS)),
    "label": Axis(str, "train_reid.generated_label", LABELS),
    "erase": Axis(bool, "train_reid.erase"),
    "start": Axis(str, choices=STARTS),
    "seed": Axis(int, "seed"),
    "replicate": Axis(int),
}


ORDER = (  # of the cells of a block, outermost first
    "seed", "replicate", "start", "preset", "erase", "backbone", "keep", "label", "method",
    "cameras", "background", "poses", "generator", "bank", "min_score", "mode", "ratio",
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
    background: str = "generated"
    poses: str = POSE_POLICIES[0]
    generator: str = "given"
    bank: str = ""
    min_score: str = ""
    erase: bool = False
    start: str = "scratch"
    preset: str = PLAIN
    label: str = LABELS[0]
    replicate: int | None = None

    @property
    def name(self) -> str:
        """The name of its folder.

        >>> Cell("resnet18", "supplement", 4.0, 0.2, 1, method="renderer", cameras="target").name
        'resnet18-supplement4-keep0.2-seed1-renderer-cameras'
        """
        least = self.least_scores
        own = cell_name(self.backbone, self.mode, self.ratio, self.keep, self.seed, least)
        marks = {
            self.method: self.method != DEFAULT_METHOD,
            "cameras": self.cameras == "target",
            "background": self.background == "target",
            **self._pose_marks,
            self._generator_mark: self.generator != "given",
            _file_mark(self.bank): self.bank != "",
            "erase": self.erase,
            "external": self.start == "external",
            "replicate": self.replicate is not None,
        }
        own_marks = [mark for mark, is_set in marks.items() if is_set]
        return "-".join([own, *own_marks, *marks_of(self.preset, self.label, self.ratio)])

    @property
    def real_part(self) -> float:
        """The part of the real images that it uses, in (0, 1]."""
        return effective_keep(self.ratio, self.mode, self.keep)

    @property
    def generator_part(self) -> float:
        """The part of the real images that trains its generator, where the grid trains one."""
        return 1.0 if self.generator == "whole" else self.real_part

    @property
    def trains_generator(self) -> bool:
        """Whether the grid trains its generator."""
        return self.needs_generator and self.generator in ("kept", "whole")

    @property
    def needs_generator(self) -> bool:
        """Whether a generator makes its images."""
        return self.ratio > 0 and method_named(self.method).needs_checkpoint and not self.bank

    @property
    def least_scores(self) -> dict[str, float]:
        """The least score of a generated image that is used, by the name of the score."""
        return parse_min_score(self.min_score.split(",") if self.min_score else (), "min_score")

    @property
    def bank_marks(self) -> tuple[str, ...]:
        """The marks that tell its bank from others of the same kept set; () for the plain one."""
        marks = {
            self.method: self.method != DEFAULT_METHOD,
            self._generator_mark: self.generator != "given",
            "target": self.cameras == "target",
            "background": self.background == "target",
            **self._pose_marks,
        }
        return *(mark for mark, is_set in marks.items() if is_set), *self.replicate_marks

    @property
    def replicate_marks(self) -> tuple[str, ...]:
        """The mark of its generator and bank among those of other replicates.

        The replicate 0 has the seeds of the recipe, so it shares the files of cells without one.
        """
        return (f"replicate{self.replicate}",) if self.replicate else ()

    @property
    def _pose_marks(self) -> dict[str, bool]:
        """The mark of its target poses, and whether it is set."""
        mark = self.poses if self.poses in POSE_SOURCES else _file_mark(self.poses)
        return {mark: self.poses != POSE_POLICIES[0]}

    @property
    def _generator_mark(self) -> str:
        return self.generator if self.generator in GENERATORS else _file_mark(self.generator)

    def plain(self) -> "Cell":
        """The same training, with every axis that does not matter at its default.

        Raises:
            UserError: If the ratio or the replicate is invalid, or the grid cannot compute a score
                of min_score.
        """
        check_ratio(self.ratio, self.mode)
        if self.replicate is not None and self.replicate < 0:
            raise UserError(f"replicate must be at least 0, got {self.replicate}")
        erase = self.erase and not PRESETS[self.preset]["erase"]
        usual: dict[str, Any] = {
            "method": DEFAULT_METHOD,
            "cameras": "source",
            "background": "generated",
            "poses": POSE_POLICIES[0],
            "generator": "given",
        }
        seed = self.seed if self.replicate is None else self.replicate
        cell = replace(self, seed=seed, erase=erase, min_score=self._plain_scores())
        if not self.ratio:
            alike: dict[str, Any] = {"mode": MODES[0], "label": LABELS[0], **usual}
            return replace(cell, bank="", min_score="", **alike)
        if self.bank:
            return replace(cell, **usual)
        cell = replace(cell, **self._plain_images())
        if not method_named(self.method).needs_checkpoint:
            return replace(cell, generator="given")
        is_whole = self.generator == "whole" and self.real_part == 1
        return replace(cell, generator="kept" if is_whole else self.generator)

    def _plain_images(self) -> dict[str, Any]:
        """Poses, cameras and background, where the method uses them; given poses have no camera."""
        method, are_kept = method_named(self.method), self.poses in POSE_POLICIES
        uses_them = method.changes_pose and (are_kept or not method.needs_target_image)
        poses = self.poses if uses_them else POSE_POLICIES[0]
        has_camera = poses in POSE_POLICIES
        asked = self.cameras, self.background
        has_background = asked == ("target", "target") and method.uses_background and has_camera
        moves = has_camera and (method.moves_cameras or has_background)
        return {
            "poses": poses,
            "cameras": self.cameras if moves else "source",
            "background": "target" if has_background else "generated",
        }

    def _plain_scores(self) -> str:
        """The least scores as one text, in one spelling."""
        least = self.least_scores
        for name in least if not self.bank else ():
            if name not in (known := scores_of_grid()):
                raise UserError(
                    f"min_score must be of {', '.join(known)}, which a grid computes itself, "
                    f"got {name!r}; for another score, name a bank that has it: bank = [FILE]"
                )
        return ",".join(f"{name}={value:g}" for name, value in sorted(least.items()))


def _file_mark(file: str) -> str:
    """A file in the name of a folder: the name of its own folder, then its own name.

    >>> _file_mark("runs/half/bank.h5"), _file_mark("mine.h5")
    ('half-bank', 'mine')
    """
    parts = Path(file).with_suffix("").parts[-2:] if file else ()
    return re.sub(r"[^\w.-]", "_", "-".join(part.strip("/") for part in parts)).strip("-.")


def shared_recipe(recipe: Recipe, cell: Cell) -> Recipe:
    """The recipe of the work that a cell shares with the same cell of other seeds."""
    return replace(cell_recipe(recipe, cell), seed=recipe.seed + (cell.replicate or 0))


def cell_recipe(recipe: Recipe, cell: Cell) -> Recipe:
    """The recipe with the values of a cell."""
    keys = ("mode", "ratio", "method", "cameras", "background", "poses")
    mix = {key: getattr(cell, key) for key in keys}
    trained = recipe.with_preset(cell.preset).train_reid
    own: dict[str, Any] = {"backbone": cell.backbone, "generated_label": cell.label}
    keep_seed = recipe.data.keep_seed + (cell.replicate or 0)
    return replace(
        recipe,
        seed=cell.seed,
        data=replace(recipe.data, keep=cell.keep, keep_seed=keep_seed),
        synthesize=replace(recipe.synthesize, **mix),
        train_reid=replace(trained, **own, erase=cell.erase or trained.erase),
    )
