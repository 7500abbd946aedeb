"""Generate the bank: new images of every identity of the kept set, in poses of the kept set.

:func:`prepare` plans the bank (:mod:`reid_aug.bank.plan`), and :func:`synthesize` generates the
images (:mod:`reid_aug.bank.methods`) shard by shard (:mod:`reid_aug.bank.shards`). Several
processes with the same command share the work.
"""

import hashlib
import json
import math
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from reid_aug.bank import Bank, Rows, shards, write_bank
from reid_aug.bank.attributes import BankAttributes, BankPlan
from reid_aug.bank.card import has_own_card, has_scores_on_card, images_on_card, write_card
from reid_aug.bank.contact_sheet import write_contact_sheet
from reid_aug.bank.coverage import CLUSTERS, Coverage, clusters_sha256, coverage, pose_clusters
from reid_aug.bank.methods import DEFAULT_METHOD, Method, Scene, check_method, method_named
from reid_aug.bank.methods.background import BACKGROUNDS
from reid_aug.bank.plan import (
    POSE_POLICIES,
    ROW_CAMERAS,
    PlannedRow,
    Target,
    plan,
    usable,
    with_torso,
    without_pose,
)
from reid_aug.bank.shards import Shards
from reid_aug.data.dataset import (
    DataConfig,
    Dataset,
    PersonImage,
    by_identity,
    kept,
    note_of_shapes,
    verify_images,
)
from reid_aug.data.keypoints import Pose
from reid_aug.data.provenance import require_status
from reid_aug.generator import untrained_generator
from reid_aug.mixing import check_ratio, effective_keep, floor_note, scores_remedy, share_out
from reid_aug.people.pose_library import LIBRARY
from reid_aug.runtime.capacity import require_disk, require_memory
from reid_aug.runtime.distributed import process_group_of_environment
from reid_aug.runtime.errors import UserError, nearest
from reid_aug.runtime.progress import track
from reid_aug.stages.cost import Cost
from reid_aug.stages.job import Job, Progress
from reid_aug.stages.target_poses import TargetPoses, read_target_poses
from reid_aug.stages.train_generator import trained_on

if TYPE_CHECKING:
    from reid_aug.stages.stage import Stage

ROW_MEMORY = 1_000  # bytes of a planned row; 930 were measured with 60,000 rows
SPARE = 16_000_000  # bytes that must stay free on the disk
OTHER = {
    "kept_sha256": "kept set or data set",
    "dataset_sha256": "data set",
    "keypoints_sha256": "set of keypoints",
    "generator_sha256": "generator or method",
}
SMALLER_BANK = "free some, lower the ratio, or choose another disk with --out"
LISTED = 50  # identities without a pose that are listed at most


NO_CAMERA_LABELS = (
    "synthesize.cameras must be source, and synthesize.poses not cross-camera, for a data set "
    "without camera labels: no image shows a known camera; add camid to the manifest, or leave "
    "both keys at their defaults"
)


@dataclass(frozen=True, slots=True)
class SynthesizeConfig:
    """The number of images, their poses and the method that makes them."""

    ratio: float = 1.0
    """Generated images per real image, above 0; below 1 in mode "replace"."""
    mode: str = "supplement"
    """"supplement" adds images to the kept set, "replace" replaces a part of the real images."""
    poses: str = "random"
    """The policy that chooses the target poses (:mod:`reid_aug.bank.plan`): "random" (any usable
    pose of the kept set, as in the paper), "cross-camera" or "coverage"; or where they come from
    instead: "library" (the pose library of the package) or a keypoint file in any format that is
    read. "./NAME" names a file without suffix."""
    cameras: str = "source"
    """The camera of a generated image: that of its "source" or of its "target". "target" needs a
    method that moves cameras: a camera-conditioned generator or the renderer."""
    background: str = "generated"
    """The background of a generated image: "generated" (that of the method) or "target" (the pixels
    around the person in the image that gave the pose; with ``cameras = "target"`` and a method that
    uses it, generator or limb-warp)."""
    method: str = DEFAULT_METHOD
    """What makes the images (:mod:`reid_aug.bank.methods`): "generator", "copies", "limb-warp",
    "renderer", or a method of another package."""
    jitter: float = 0.0
    """Largest relative change of brightness, contrast and saturation per generated image, in
    [0, 1). Only methods that use jitter apply it."""
    batch: int = 32
    """Rows that are generated at once; a divisor of the 512 rows of a shard."""

    def __post_init__(self) -> None:
        check_ratio(self.ratio, self.mode)
        check_poses(self.poses)
        if self.cameras not in ROW_CAMERAS:
            raise UserError(
                f"cameras must be one of {', '.join(ROW_CAMERAS)}, got {self.cameras!r}"
            )
        if self.background not in BACKGROUNDS:
            raise UserError(
                f"background must be one of {', '.join(BACKGROUNDS)}, got {self.background!r}"
            )
        check_method(self.method, self.cameras, self.background)
        if not self.poses_are_kept:
            self._check_given_poses()
        if not 0 <= self.jitter < 1:
            raise UserError(f"jitter must be at least 0 and below 1, got {self.jitter}")
        if not (1 <= self.batch <= shards.SHARD and shards.SHARD % self.batch == 0):
            raise UserError(f"batch must divide {shards.SHARD}, got {self.batch}")

    @property
    def poses_are_kept(self) -> bool:
        """Whether the target poses are those of the kept set."""
        return self.poses in POSE_POLICIES

    def _check_given_poses(self) -> None:
        """Refuse what given poses do not allow."""
        if self.cameras != "source":
            raise UserError(
                f"cameras must be source for poses {self.poses!r}, which belong to no camera, got "
                f"{self.cameras!r}; set synthesize.cameras to source, or poses to one of "
                f"{', '.join(POSE_POLICIES)}"
            )
        method = method_named(self.method)
        if method.needs_target_image or not method.changes_pose:
            reason = "needs the image of a pose" if method.changes_pose else "keeps the pose"
            raise UserError(
                f"poses must be one of {', '.join(POSE_POLICIES)} for method {self.method}, which "
                f"{reason}, got {self.poses!r}"
            )


def check_poses(poses: str) -> None:
    """Raise a UserError unless ``poses`` is a policy, the library, or looks like a path."""
    known = (*POSE_POLICIES, LIBRARY)
    if poses not in known and not Path(poses).suffix and not {"/", "\\"} & {*poses}:
        raise UserError(
            f"poses must be one of {', '.join(known)}, or a keypoint file, got {poses!r}"
            f"{nearest(poses, known)}"
        )


@dataclass(frozen=True, slots=True)
class PlannedBank:
    """A bank to be made: its rows, everything that generating them needs, and its attributes."""

    rows: list[PlannedRow]
    images: int
    """The number of all real training images, before ``keep``."""
    real: tuple[PersonImage, ...]
    """The kept set."""
    poses: Mapping[str, Pose]
    config: SynthesizeConfig
    data: DataConfig
    method: Method
    checkpoint: Path | None
    attributes: BankAttributes
    coverage: Coverage
    targets: TargetPoses | None
    """The poses of a file; None for those of the kept set."""


def plan_bank(
    dataset: Dataset,
    poses: Mapping[str, Pose],
    checkpoint: Path | None,
    config: SynthesizeConfig,
    data: DataConfig,
    seed: int,
) -> PlannedBank:
    """Plan a bank without generating anything.

    Args:
        checkpoint: the generator; None for a method that needs none.

    Raises:
        UserError: If the ratio is 0, the kept set has no usable pose, an image cannot be decoded,
            the method does not work on this data set, or a file of poses cannot be used.
    """
    real, count = share_out(dataset.train, config.ratio, config.mode, data.keep, data.keep_seed)
    if not dataset.has_cameras and (config.cameras != "source" or config.poses == "cross-camera"):
        raise UserError(NO_CAMERA_LABELS)
    if not count:
        raise UserError(f"ratio must be above 0 to synthesize anything, got {config.ratio:g}")
    require_memory(count * ROW_MEMORY, f"{count} planned images", "lower the ratio")
    size = data.height, data.width
    scene = Scene(dataset, real, poses, size, seed, config.jitter, config.background)
    method = method_named(config.method)(scene, config.cameras, checkpoint)
    require_status(method.generator_data, f"method {method.name}: generator_data")
    needs_poses = method.changes_pose or config.poses == "coverage"
    usable(real, poses, needs_poses)  # raises if poses are needed and there are none
    seen = with_torso(real, poses)
    targets = None if config.poses_are_kept else read_target_poses(config.poses, dataset, real)
    given = targets.poses if targets else ()
    clusters = pose_clusters(seen, poses, seed, given=given) if seen else {}
    planned = plan(
        real,
        poses,
        count,
        seed,
        cameras=config.cameras,
        policy=config.poses,
        clusters=clusters,
        needs_poses=needs_poses,
        given=given,
    )
    rows = [method.row(row) for row in planned]
    verify_images(real)
    recorded = _recorded_plan(config, data, method, clusters, targets)
    attributes = BankAttributes.of(
        dataset,
        real,
        poses,
        data,
        keep=effective_keep(config.ratio, config.mode, data.keep),
        generator_sha256=method.sha256,
        generator_data=method.generator_data,
        trained_on=method.trained_on,
        ratio=config.ratio,
        mode=config.mode,
        plan=recorded,
        seed=seed,
    )
    return PlannedBank(
        rows=rows,
        images=len(dataset.train),
        real=real,
        poses=poses,
        config=config,
        data=data,
        method=method,
        checkpoint=checkpoint,
        attributes=attributes,
        coverage=coverage(real, rows, clusters),
        targets=targets,
    )


def _recorded_plan(
    config: SynthesizeConfig,
    data: DataConfig,
    method: Method,
    clusters: Mapping[Target, int],
    targets: TargetPoses | None,
) -> BankPlan:
    """The settings that the attributes of the bank record."""
    by_coverage = config.poses == "coverage"
    return BankPlan(
        poses=targets.policy if targets else config.poses,
        cameras=config.cameras,
        method=config.method,
        batch=config.batch,
        jitter=config.jitter if method.uses_jitter else None,
        clusters=CLUSTERS if by_coverage else None,
        clusters_sha256=clusters_sha256(clusters) if by_coverage else None,
        height=data.height,
        width=data.width,
        background=config.background if method.uses_background else None,
        poses_sha256=targets.sha256 if targets else None,
    )


def synthesize(
    planned: PlannedBank, folder: Path, device: torch.device, progress: Progress = track
) -> Path:
    """Generate a bank, or the missing rows of one; returns the path of ``bank.h5``.

    Raises:
        UserError: If the folder holds a bank of another kept set, generator, seed or plan, another
            command uses it, or the disk has not enough space.
    """
    path = folder / "bank.h5"
    if is_finished(planned, path):
        return path
    old, pieces = _extendable(path, planned), _shards(planned, path)
    _check_space(planned, pieces)
    if old is not None:
        old.check_pixels()
    began = time.time()
    timing: dict[str, float | None] = {"seconds": None}
    with pieces.membership():
        planned.method.to(device)
        with progress(range(len(planned.rows)), "synthesize") as bar:
            pieces.generate(planned.rows, planned.method, planned.config.batch, bar.update)

        def write(pixels: Iterator[np.ndarray]) -> None:
            scores, about = _old_scores(path, len(planned.rows))
            attributes = replace(planned.attributes, scores=about)
            write_bank(path, _columns(planned.rows, planned.method), pixels, attributes, scores)
            timing["seconds"] = round(time.time() - began, 1)
            timing["generating_seconds"] = round(pieces.computing, 1)

        def describe() -> None:
            if not has_own_card(path):  # the process that wrote the bank may have been killed
                _write_card(path, planned, device, timing)

        pieces.assemble(write, describe)
    return path


def is_finished(planned: PlannedBank, path: Path) -> bool:
    """Whether ``path`` holds at least these rows, with its card and without unfinished shards.

    Raises:
        UserError: If it holds another bank.
    """
    old = _extendable(path, planned)
    is_whole = old is not None and len(old) >= len(planned.rows)
    return is_whole and _shards(planned, path).is_tidy() and has_own_card(path)


def _shards(planned: PlannedBank, path: Path) -> Shards:
    return Shards(path, _key(planned), len(planned.rows))


def _old_scores(
    path: Path, count: int
) -> tuple[dict[str, np.ndarray], Mapping[str, Mapping[str, Any]] | None]:
    """The scores of the existing bank, NaN for rows it does not have, and their origins."""
    old = Bank(path) if path.exists() else None
    if old is None or not old.scores:
        return {}, None
    missing = np.full(count - len(old), np.nan, np.float32)
    scores = {name: np.concatenate([score, missing]) for name, score in old.scores.items()}
    return scores, old.about_scores


def _check_space(planned: PlannedBank, pieces: Shards) -> None:
    """Raise a UserError if the disk has not enough space for shards and bank together."""
    frame = planned.data.height * planned.data.width * 3
    missing = sum(shard.stop - shard.start for shard in pieces.missing())
    need = (missing + len(planned.rows)) * frame + SPARE
    require_disk(pieces.bank, need, f"{len(planned.rows)} images and their shards", SMALLER_BANK)


def _extendable(path: Path, planned: PlannedBank) -> Bank | None:
    """The existing bank, which must have the same plan as this one; None without one."""
    if not path.exists():
        return None
    bank = Bank(path)
    stored = bank.attributes.stored()
    for name, value in _fixed(planned).items():
        found = stored[name]
        if found != value:
            differs = OTHER.get(name) or f"{name} ({_changes(name, found, value)})"
            raise UserError(
                f"{path}: holds a bank of another {differs}; "
                f"choose another folder with --out, or remove the file"
            )
    return bank


def _changes(name: str, found: Any, own: Any) -> str:
    """How an attribute of the existing bank differs from this one's; of a plan, the keys that do.

    >>> _changes("plan", '{"poses": "random", "batch": 8}', '{"poses": "coverage", "batch": 8}')
    'poses "random", this one would have "coverage"'
    """
    if name != "plan":
        return f"{found}, this one would have {own}"
    old, new = json.loads(found), json.loads(own)
    return "; ".join(
        f"{key} {json.dumps(old.get(key))}, this one would have {json.dumps(new.get(key))}"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    )


def _key(planned: PlannedBank) -> str:
    text = json.dumps(_fixed(planned), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _fixed(planned: PlannedBank) -> dict[str, Any]:
    """The attributes that stay the same when a bank is extended: all but its size."""
    stored = planned.attributes.stored()
    return {k: v for k, v in stored.items() if k not in ("ratio", "mode", "synthetic")}


def _columns(rows: Sequence[PlannedRow], method: Method) -> Rows:
    return Rows(
        pid=np.array([row.source.pid for row in rows]),
        camid=np.array([row.camid for row in rows]),
        source=np.array([row.source.name for row in rows]),
        target=np.array([row.target.name for row in rows]),
        keypoints=np.stack([method.keypoints(row) for row in rows]),
    )


def _write_card(
    path: Path, planned: PlannedBank, device: torch.device, timing: Mapping[str, Any]
) -> None:
    bank, root = Bank(path), planned.real[0].path.absolute().parent.parent
    is_all = len(bank) == len(planned.rows)  # another process may have made more
    made = {
        "real_images_kept": len(planned.real),
        "method": planned.method.description,
        "generator": str(planned.checkpoint) if planned.checkpoint else None,
        "poses_file": str(planned.targets.path) if planned.targets else None,
        "coverage": asdict(planned.coverage) if is_all else None,
        "device": str(device),
        **timing,
        "versions": {"torch": torch.__version__},
    }
    write_card(bank, root, made)


def describe(planned: PlannedBank) -> str:
    """What will be generated, by which method, and in which poses if a file gives them."""
    identities = by_identity(row.source for row in planned.rows)
    ratio, mode = planned.config.ratio, planned.config.mode
    floor = floor_note(planned.images, len(planned.real), len(planned.rows), ratio, mode)
    text = (
        f"{len(planned.rows)} images of {len(identities)} identities, "
        f"from {len(planned.real)} real ones; {planned.method.description}{floor}"
    )
    bare = without_pose(planned.real, planned.poses) if planned.method.changes_pose else []
    if bare:
        pids = ", ".join(map(str, bare[:LISTED])) + (", ..." if len(bare) > LISTED else "")
        text += f"; {len(bare)} identities have no usable pose as source: {pids}"
    return f"{text}\n{planned.targets.describe()}" if planned.targets else text


def seconds_to_generate(planned: PlannedBank, device: torch.device) -> float:
    """Seconds that the generation takes, from the median of three batches."""
    method, batch = planned.method, planned.config.batch
    method.to(device)
    rows = (planned.rows * math.ceil(batch / len(planned.rows)))[:batch]
    elapsed = []
    for _ in track(range(3), "measure batches"):
        began = time.perf_counter()
        method.generate(rows)
        elapsed.append(time.perf_counter() - began)
    return math.ceil(len(planned.rows) / batch) * statistics.median(elapsed)


def prepare(
    stage: "Stage",
    ratio: float | None = None,
    mode: str | None = None,
    generator: str | None = None,
) -> "SynthesizeJob":
    """Plan the bank of a stage; nothing is written.

    Args:
        ratio: None means the ratio of the recipe.
        mode: None means the mode of the recipe.
        generator: a checkpoint, or "demo"; None means that of the run folder.

    Raises:
        UserError: As :func:`plan_bank`, or if the method needs no generator and one is given.
    """
    stage = stage.with_options({"synthesize.ratio": ratio, "synthesize.mode": mode})
    recipe, config = stage.recipe, stage.recipe.synthesize
    needs_checkpoint = method_named(config.method).needs_checkpoint
    if generator and not needs_checkpoint:
        raise UserError(
            f"--generator must not be given for method {config.method}, which needs none"
        )
    _check_size(stage)
    checkpoint = stage.generator(generator) if needs_checkpoint else None
    poses = stage.poses if method_named(config.method).changes_pose else stage.poses_if_any
    inputs = stage.dataset, poses, checkpoint
    return SynthesizeJob(stage, plan_bank(*inputs, config, recipe.data, recipe.seed))


@contextmanager
def generator_or_stand_in(stage: "Stage", given: str | None, is_dry: bool) -> Iterator[str | None]:
    """The generator of a command; in a dry run, an untrained one where none is trained yet.

    Args:
        given: the checkpoint that the command names, if it names one.
        is_dry: whether the command only measures what it would cost.
    """
    config, run = stage.recipe.synthesize, stage.run
    is_there = given or stage.is_demo or run.generator.is_file()
    if not is_dry or is_there or not method_named(config.method).needs_checkpoint:
        yield given
        return
    print(
        f"{run.generator} does not exist yet: an untrained generator of the recipe is measured",
        file=sys.stderr,
    )
    recipe = stage.recipe
    real = kept(stage.dataset.train, recipe.data.keep, recipe.data.keep_seed)
    images = trained_on(recipe.train_generator, real)
    with untrained_generator(recipe.generator, images) as path:
        yield str(path)


def _check_size(stage: "Stage") -> None:
    """Refuse a bank that cannot fit on the disk, before its rows are planned."""
    config, data, path = stage.recipe.synthesize, stage.recipe.data, stage.run.bank
    parts = config.ratio, config.mode, data.keep, data.keep_seed
    count = share_out(stage.dataset.train, *parts)[1]
    need = count * data.height * data.width * 3
    there = path.stat().st_size if path.exists() else 0
    if need > there:
        require_disk(path, need, f"{count} images", SMALLER_BANK)


@dataclass(frozen=True)
class SynthesizeJob(Job):
    """The bank of a stage, ready to be generated (:class:`reid_aug.stages.job.Job`)."""

    stage: "Stage"
    planned: PlannedBank

    @property
    def path(self) -> Path:
        """The bank."""
        return self.stage.run.bank

    def is_done(self) -> bool:
        """Whether the run folder holds the whole bank.

        Raises:
            UserError: If it holds the bank of another job.
        """
        return is_finished(self.planned, self.path)

    def describe(self) -> str:
        """The number of images, the method, the covered poses, and whether it is done already."""
        lines = [describe(self.planned), str(self.planned.coverage)]
        lines += [note] if (note := note_of_shapes(self.planned.real)) else []
        lines += [f"done already: {self.path}"] if self.is_done() else []
        return "\n".join(lines)

    def cost(self, device: torch.device) -> Cost:
        """Time to generate all images, by the median of three batches, and the size of the bank."""
        size = len(self.planned.rows) * self.planned.data.height * self.planned.data.width * 3
        return Cost(seconds_to_generate(self.planned, device), size)

    def run(self, progress: Progress | None = None) -> Path:
        """Generate the images that the bank lacks; write recipe and contact sheet."""
        stage = self.stage
        path = synthesize(self.planned, stage.run.path, stage.device, progress or track)
        if process_group_of_environment().is_first:
            stage.write_recipe()
            sheet = stage.run.contact_sheet
            write_contact_sheet(Bank(path), self.planned.real, stage.root, sheet)
        return path

    def outcome(self) -> str:
        """The size of the bank, where its contact sheet is, and which rows have no scores yet."""
        stage, count = self.stage, images_on_card(self.path)
        text = f"{count} images; contact sheet: {stage.run.contact_sheet}"
        if not has_scores_on_card(self.path):
            return text
        bank = Bank(self.path)
        unscored = max((int(np.isnan(one).sum()) for one in bank.scores.values()), default=0)
        if not unscored:
            return text
        data = {} if stage.is_demo else {"data": str(stage.root)}
        remedy = scores_remedy(bank, bank.scores, data)
        return f"{text}\n{unscored} new rows have no scores yet; {remedy}"
