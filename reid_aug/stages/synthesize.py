"""Draw the bank: every identity of the kept set, again, in poses of the kept set.

First the plan (:mod:`reid_aug.bank.plan`), with what it covers and costs, then the drawing
(:mod:`reid_aug.bank.methods`), shard by shard (:mod:`reid_aug.bank.shards`), alone or together with
other processes that were given the same command.
"""

import hashlib
import json
import math
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from reid_aug.bank import Bank, Rows, shards, write_bank
from reid_aug.bank.card import has_own_card, write_card
from reid_aug.bank.contact_sheet import write_contact_sheet
from reid_aug.bank.coverage import CLUSTERS, Coverage, clusters_sha256, coverage, pose_clusters
from reid_aug.bank.methods import METHODS, Method, Scene, check_method
from reid_aug.bank.plan import CAMERAS, POLICIES, Draw, plan, usable, without_pose
from reid_aug.bank.shards import Shards
from reid_aug.data.dataset import (
    DataConfig,
    Dataset,
    PersonImage,
    by_identity,
    verify_images,
)
from reid_aug.data.keypoints import Pose
from reid_aug.data.provenance import dataset_sha256, keypoints_sha256, names_sha256
from reid_aug.mixing import check_ratio, effective_keep, floor_note, share_out
from reid_aug.runtime.distributed import process_group_of_environment
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.progress import track
from reid_aug.stages.cost import Cost
from reid_aug.stages.job import Progress

if TYPE_CHECKING:
    from reid_aug.stages.stage import Stage

SPARE = 16_000_000  # bytes that must be left on the disk
OTHER = {
    "kept_sha256": "kept set or data set",
    "dataset_sha256": "data set",
    "keypoints_sha256": "set of key points",
    "generator_sha256": "generator",
}
LISTED = 50  # identities without a pose


@dataclass(frozen=True, slots=True)
class SynthesizeConfig:
    """How many images, and in which poses.

    ``poses`` is the policy that chooses the target (:mod:`reid_aug.bank.plan`): "random", a random
    usable pose of the kept set, as in the paper, "cross-camera" or "coverage". ``cameras`` says
    under which camera a row is drawn: its "source"'s, or its "target"'s, for a generator that is
    told cameras. ``method`` draws (:mod:`reid_aug.bank.methods`): the "generator", or one to
    compare it with, "copies" or the "renderer". ``jitter`` gives each of the generator's drawings a
    light of its own: brightness, contrast and saturation change by up to this part. ``batch`` rows
    are drawn at a time.
    """

    ratio: float = 1.0
    mode: str = "supplement"
    poses: str = "random"
    cameras: str = "source"
    method: str = "generator"
    jitter: float = 0.0
    batch: int = 32

    def __post_init__(self) -> None:
        check_ratio(self.ratio, self.mode)
        if self.poses not in POLICIES:
            raise UserError(f"poses must be one of {', '.join(POLICIES)}, got {self.poses!r}")
        if self.cameras not in CAMERAS:
            raise UserError(f"cameras must be one of {', '.join(CAMERAS)}, got {self.cameras!r}")
        check_method(self.method, self.cameras)
        if not 0 <= self.jitter < 1:
            raise UserError(f"jitter must be at least 0 and below 1, got {self.jitter}")
        if not (1 <= self.batch <= shards.SHARD and shards.SHARD % self.batch == 0):
            raise UserError(f"batch must divide {shards.SHARD}, got {self.batch}")


@dataclass(frozen=True, slots=True)
class Job:
    """A bank to be made: the plan, all that drawing it needs, and what it will say about itself."""

    draws: list[Draw]
    images: int  # all real training images, of which ``real`` are kept
    real: tuple[PersonImage, ...]
    poses: Mapping[str, Pose]
    config: SynthesizeConfig
    data: DataConfig
    method: Method
    checkpoint: Path | None
    attributes: dict[str, Any]
    coverage: Coverage


def prepare(
    dataset: Dataset,
    poses: Mapping[str, Pose],
    checkpoint: Path | None,
    config: SynthesizeConfig,
    data: DataConfig,
    seed: int,
) -> Job:
    """Plan a bank without drawing anything; only the method "generator" needs a checkpoint.

    Raises:
        UserError: If the ratio asks for no image, there is no pose to draw into, an image does not
            decode, or the method may not be used on this data set.
    """
    real, count = share_out(dataset.train, config.ratio, config.mode, data.keep, data.keep_seed)
    if not count:
        raise UserError(f"ratio must be above 0 to synthesize anything, got {config.ratio:g}")
    scene = Scene(dataset, real, poses, (data.height, data.width), seed, config.jitter)
    method = METHODS[config.method](scene, config.cameras, checkpoint)
    clusters = pose_clusters(usable(real, poses), poses, seed)
    planned = plan(real, poses, count, seed, config.cameras, config.poses, clusters)
    draws = [method.row(draw) for draw in planned]
    verify_images(real)
    drawing = {key: getattr(config, key) for key in ("poses", "cameras", "method", "batch")}
    if config.method == "generator":
        drawing["jitter"] = config.jitter
    if config.poses == "coverage":
        drawing |= {"clusters": CLUSTERS, "clusters_sha256": clusters_sha256(clusters)}
    attributes = {
        "keep": effective_keep(config.ratio, config.mode, data.keep),
        "keep_seed": data.keep_seed,
        "kept_sha256": names_sha256(real),
        "dataset_sha256": dataset_sha256(dataset),
        "keypoints_sha256": keypoints_sha256(real, poses),
        "generator_sha256": method.sha256,
        "generator_data": method.data,
        "ratio": config.ratio,
        "mode": config.mode,
        "plan": json.dumps({**drawing, "height": data.height, "width": data.width}),
        "seed": seed,
    }
    images, covered = len(dataset.train), coverage(real, draws, clusters)
    return Job(draws, images, real, poses, config, data, method, checkpoint, attributes, covered)


def synthesize(job: Job, folder: Path, device: torch.device, progress: Progress = track) -> Path:
    """Draw a bank, or what is missing of one; the path of ``bank.h5``.

    Raises:
        UserError: If the folder holds a bank of another kept set, generator, seed or plan, another
            command is at work in it, or there is no room for the bank.
    """
    path = folder / "bank.h5"
    old = _extendable(path, job)
    pieces = Shards(path, _key(job), len(job.draws))
    is_done = old is not None and len(old) >= len(job.draws) and not pieces.folder.exists()
    if is_done and has_own_card(path):
        return path
    if not is_done:
        _check_room(job, pieces)
    if old is not None:
        old.check_pixels()
    began = time.time()
    timing: dict[str, float | None] = {"seconds": None}
    with pieces.membership():
        job.method.to(device)
        with progress(range(len(job.draws)), "synthesize") as bar:
            pieces.draw(job.draws, job.method, job.config.batch, bar.update)

        def write(pixels: Iterator[np.ndarray]) -> None:
            scores, about = _old_scores(path, len(job.draws))
            write_bank(path, _rows(job.draws, job.method), pixels, job.attributes | about, scores)
            timing["seconds"] = round(time.time() - began, 1)
            timing["generating_seconds"] = round(pieces.painting, 1)

        def describe() -> None:
            if not has_own_card(path):  # whoever wrote the bank may have been killed then
                _write_card(path, job, device, timing)

        pieces.assemble(write, describe)
    return path


def _old_scores(path: Path, count: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The scores of the bank that is there, NaN for rows it does not have, and their attribute."""
    old = Bank(path) if path.exists() else None
    if old is None or not old.scores:
        return {}, {}
    missing = np.full(count - len(old), np.nan, np.float32)
    scores = {name: np.concatenate([score, missing]) for name, score in old.scores.items()}
    return scores, {"scores": json.dumps(old.about_scores)}


def _check_room(job: Job, pieces: Shards) -> None:
    """Raise a UserError if shards and bank together are more than the disk has room for."""
    frame = job.data.height * job.data.width * 3
    undrawn = sum(shard.stop - shard.start for shard in pieces.missing())
    need = (undrawn + len(job.draws)) * frame + SPARE
    there = next(p for p in (pieces.bank.absolute(), *pieces.bank.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    if free < need:
        raise UserError(
            f"{pieces.bank}: {len(job.draws)} images need {need / 1e6:.0f} MB while they are "
            f"drawn, there are {free / 1e6:.0f} MB; make room, or choose another disk with --out"
        )


def _extendable(path: Path, job: Job) -> Bank | None:
    """The bank that is there, if it is a part (or more) of this job's."""
    if not path.exists():
        return None
    bank = Bank(path)
    for name, value in _fixed(job).items():
        found = bank.attributes[name]
        if found != value:
            differs = OTHER.get(name, f"{name} ({found}, this one would have {value})")
            raise UserError(
                f"{path}: holds a bank of another {differs}; "
                f"choose another folder with --out, or remove the file"
            )
    return bank


def _key(job: Job) -> str:
    text = json.dumps(_fixed(job), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _fixed(job: Job) -> dict[str, Any]:
    """What may not change when a bank is extended: all but its size."""
    return {k: v for k, v in job.attributes.items() if k not in ("ratio", "mode")}


def _rows(draws: Sequence[Draw], method: Method) -> Rows:
    return Rows(
        pid=np.array([draw.source.pid for draw in draws]),
        camid=np.array([draw.camid for draw in draws]),
        source=np.array([draw.source.name for draw in draws]),
        target=np.array([draw.target.name for draw in draws]),
        keypoints=np.stack([method.keypoints(draw) for draw in draws]),
    )


def _write_card(path: Path, job: Job, device: torch.device, timing: Mapping[str, Any]) -> None:
    bank, root = Bank(path), job.real[0].path.parents[1]
    is_all = len(bank) == len(job.draws)  # another job may have drawn more
    made = {
        "real_images_kept": len(job.real),
        "method": job.method.words,
        "generator": str(job.checkpoint) if job.checkpoint else None,
        "coverage": asdict(job.coverage) if is_all else None,
        "device": str(device),
        **timing,
        "versions": {"torch": torch.__version__},
    }
    write_card(bank, root, made)


def describe(job: Job) -> str:
    """What will be drawn, by whom, in one line."""
    identities = by_identity(draw.source for draw in job.draws)
    ratio, mode = job.config.ratio, job.config.mode
    floor = floor_note(job.images, len(job.real), len(job.draws), ratio, mode)
    text = (
        f"{len(job.draws)} images of {len(identities)} identities, from {len(job.real)} real ones; "
        f"{job.method.words}{floor}"
    )
    if bare := without_pose(job.real, job.poses):
        pids = ", ".join(map(str, bare[:LISTED])) + (", ..." if len(bare) > LISTED else "")
        text += f"; {len(bare)} identities have no usable pose as source: {pids}"
    return text


def seconds_to_generate(job: Job, device: torch.device) -> float:
    """Time that drawing takes, by the median of three batches."""
    method, batch = job.method, job.config.batch
    method.to(device)
    rows = (job.draws * math.ceil(batch / len(job.draws)))[:batch]
    elapsed = []
    for _ in range(3):
        began = time.perf_counter()
        method.draw(rows)
        elapsed.append(time.perf_counter() - began)
    return math.ceil(len(job.draws) / batch) * statistics.median(elapsed)


@dataclass(frozen=True, slots=True)
class SynthesizeJob:
    """The bank of a stage, ready to be generated (:class:`reid_aug.stages.job.Job`)."""

    stage: "Stage"
    plan: Job

    @classmethod
    def prepare(
        cls,
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
            UserError: As :func:`prepare`, or if the method needs no generator and one is given.
        """
        stage = stage.with_options({"synthesize.ratio": ratio, "synthesize.mode": mode})
        recipe, config = stage.recipe, stage.recipe.synthesize
        if generator and config.method != "generator":
            raise UserError(
                f"--generator must not be given for method {config.method}, which needs none"
            )
        checkpoint = stage.generator(generator) if config.method == "generator" else None
        inputs = stage.dataset, stage.poses, checkpoint
        return cls(stage, prepare(*inputs, config, recipe.data, recipe.seed))

    @property
    def path(self) -> Path:
        """The bank."""
        return self.stage.run.bank

    def describe(self) -> str:
        """The number of images, the method, and the poses that are covered."""
        return f"{describe(self.plan)}\n{self.plan.coverage}"

    def cost(self, device: torch.device) -> Cost:
        """Time to generate all images, by the median of three batches, and the size of the bank."""
        size = len(self.plan.draws) * self.plan.data.height * self.plan.data.width * 3
        return Cost(seconds_to_generate(self.plan, device), size)

    def run(self, progress: Progress | None = None) -> Path:
        """Generate the images that the bank lacks; write recipe and contact sheet."""
        stage = self.stage
        path = synthesize(self.plan, stage.run.path, stage.device, progress or track)
        if process_group_of_environment().is_first:
            stage.write_recipe()
            sheet = stage.run.contact_sheet
            write_contact_sheet(Bank(path), self.plan.real, stage.root, sheet)
        return path

    def outcome(self) -> str:
        """The size of the bank, and where its contact sheet is."""
        return f"{len(Bank(self.path))} images; look at {self.stage.run.contact_sheet}"
