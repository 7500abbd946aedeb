"""Draw the bank: every identity of the kept set, again, in poses of the kept set.

First the plan (:mod:`reid_aug.plan`), then the drawing (:mod:`reid_aug.artists`), which goes shard
by shard. A shard is a fixed range of rows and is committed as a whole; within it batches are fixed
ranges too, the last one filled up, so the pixels of a row depend neither on how many rows there are
nor on where an earlier run was killed. The bank is then assembled from the shards by one process.
"""

import hashlib
import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reid_aug import __version__
from reid_aug.artists import ARTISTS, Artist, Scene, check_artist
from reid_aug.bank import Bank, Rows, write_bank
from reid_aug.dataset import (
    DataConfig,
    Dataset,
    PersonImage,
    by_identity,
    verify_images,
)
from reid_aug.errors import UserError
from reid_aug.files import committed, locked, write_json
from reid_aug.mixing import check_ratio, effective_keep, floor_note, share_out
from reid_aug.plan import CAMERAS, Draw, plan, without_pose
from reid_aug.poses import Pose
from reid_aug.progress import track
from reid_aug.provenance import dataset_sha256, keypoints_sha256, names_sha256

SHARD = 512  # rows; a killed run loses at most this many
POLICIES = ("random",)
OTHER = {
    "kept_sha256": "kept set or data set",
    "dataset_sha256": "data set",
    "keypoints_sha256": "set of key points",
    "generator_sha256": "generator",
}
LICENCE_NOTE = (
    "Generated images of the people in the source data set: its terms of use hold for them too."
)


@dataclass(frozen=True, slots=True)
class SynthesizeConfig:
    """How many images, and in which poses.

    ``poses`` is the policy that chooses the target: "random", a random usable pose of the kept set,
    as in the paper. ``cameras`` says under which camera a row is drawn: its "source"'s, or its
    "target"'s, for a generator that is told cameras. ``artist`` draws: the "generator", or one to
    compare it with, "copies" or the "renderer" (:mod:`reid_aug.artists`). ``jitter`` gives each of
    the generator's drawings a light of its own: brightness, contrast and saturation change by up to
    this part. ``batch`` rows are drawn at a time.
    """

    ratio: float = 1.0
    mode: str = "supplement"
    poses: str = "random"
    cameras: str = "source"
    artist: str = "generator"
    jitter: float = 0.0
    batch: int = 32

    def __post_init__(self) -> None:
        check_ratio(self.ratio, self.mode)
        if self.poses not in POLICIES:
            raise UserError(f"poses must be one of {', '.join(POLICIES)}, got {self.poses!r}")
        if self.cameras not in CAMERAS:
            raise UserError(f"cameras must be one of {', '.join(CAMERAS)}, got {self.cameras!r}")
        check_artist(self.artist, self.cameras)
        if not 0 <= self.jitter < 1:
            raise UserError(f"jitter must be at least 0 and below 1, got {self.jitter}")
        if not (1 <= self.batch <= SHARD and SHARD % self.batch == 0):
            raise UserError(f"batch must divide {SHARD}, got {self.batch}")


@dataclass(frozen=True, slots=True)
class Job:
    """A bank to be made: the plan, all that drawing it needs, and what it will say about itself."""

    draws: list[Draw]
    images: int  # all real training images, of which ``real`` are kept
    real: tuple[PersonImage, ...]
    poses: Mapping[str, Pose]
    config: SynthesizeConfig
    data: DataConfig
    artist: Artist
    checkpoint: Path | None
    attributes: dict[str, Any]


def prepare(
    dataset: Dataset,
    poses: Mapping[str, Pose],
    checkpoint: Path | None,
    config: SynthesizeConfig,
    data: DataConfig,
    seed: int,
) -> Job:
    """Plan a bank without drawing anything; only the artist "generator" needs a checkpoint.

    Raises:
        UserError: If the ratio asks for no image, there is no pose to draw into, an image does not
            decode, or the artist may not be used on this data set.
    """
    real, count = share_out(dataset.train, config.ratio, config.mode, data.keep, data.keep_seed)
    if not count:
        raise UserError(f"ratio must be above 0 to synthesize anything, got {config.ratio:g}")
    scene = Scene(dataset, real, poses, (data.height, data.width), seed, config.jitter)
    artist = ARTISTS[config.artist](scene, config.cameras, checkpoint)
    draws = [artist.row(draw) for draw in plan(real, poses, count, seed, config.cameras)]
    verify_images(real)
    drawing = {key: getattr(config, key) for key in ("poses", "cameras", "artist", "batch")}
    if config.artist == "generator":
        drawing["jitter"] = config.jitter
    attributes = {
        "keep": effective_keep(config.ratio, config.mode, data.keep),
        "keep_seed": data.keep_seed,
        "kept_sha256": names_sha256(real),
        "dataset_sha256": dataset_sha256(dataset),
        "keypoints_sha256": keypoints_sha256(real, poses),
        "generator_sha256": artist.sha256,
        "generator_data": artist.data,
        "ratio": config.ratio,
        "mode": config.mode,
        "plan": json.dumps({**drawing, "height": data.height, "width": data.width}),
        "seed": seed,
    }
    images = len(dataset.train)
    return Job(draws, images, real, poses, config, data, artist, checkpoint, attributes)


def synthesize(job: Job, folder: Path, device: torch.device) -> Path:
    """Draw a bank, or what is missing of one; the path of ``bank.h5``.

    Raises:
        UserError: If the folder holds a bank of another kept set, generator, seed or plan, or
            another process is at work in it.
    """
    path, card = folder / "bank.h5", folder / "bank.json"
    old = _extendable(path, job)
    if old is not None and len(old) >= len(job.draws):
        if not card.exists():
            _write_card(card, job, device, None)
        return path
    began = time.time()
    with locked(folder):
        _draw(job, path, old, device)
        _write_card(card, job, device, round(time.time() - began, 1))
    return path


def _draw(job: Job, path: Path, old: Bank | None, device: torch.device) -> None:
    artist, batch = job.artist, job.config.batch
    artist.to(device)
    folder = path.parent / "shards" / _key(job)
    starts = range(0, len(job.draws), SHARD)
    with track(range(0, len(job.draws), batch), "synthesize") as bar:
        for start in starts:
            _commit_shard(job, old, start, folder)
            bar.update(math.ceil(min(SHARD, len(job.draws) - start) / batch))
    shards = (np.load(_shard(folder, start, job)) for start in starts)
    write_bank(path, _rows(job.draws, artist), shards, job.attributes)
    for start in starts:
        _shard(folder, start, job).unlink()
    _remove_empty(folder)


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


def _shard(folder: Path, start: int, job: Job) -> Path:
    return folder / f"{start:08d}-{min(start + SHARD, len(job.draws)):08d}.npy"


def _commit_shard(job: Job, old: Bank | None, start: int, folder: Path) -> None:
    """Draw the rows from ``start`` to the end of its shard, unless that was done before."""
    path, size = _shard(folder, start, job), job.config.batch
    if path.exists():
        return
    stop = min(start + SHARD, len(job.draws))
    parts = [
        _batch(job.draws, job.artist, old, first, min(first + size, stop), size)
        for first in range(start, stop, size)
    ]
    with committed(path) as part, part.open("wb") as file:
        np.save(file, np.concatenate(parts))


def _batch(
    draws: Sequence[Draw], artist: Artist, old: Bank | None, start: int, stop: int, size: int
) -> np.ndarray:
    if old is not None and stop <= len(old):
        return old.images(start, stop)
    rows = list(draws[start:stop])
    rows += rows[-1:] * (size - len(rows))  # a batch is always of the same size
    return artist.draw(rows)[: stop - start]


def _rows(draws: Sequence[Draw], artist: Artist) -> Rows:
    return Rows(
        pid=np.array([draw.source.pid for draw in draws]),
        camid=np.array([draw.camid for draw in draws]),
        source=np.array([draw.source.name for draw in draws]),
        target=np.array([draw.target.name for draw in draws]),
        keypoints=np.stack([artist.keypoints(draw) for draw in draws]),
    )


def _remove_empty(folder: Path) -> None:
    for path in (folder, folder.parent):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _write_card(path: Path, job: Job, device: torch.device, seconds: float | None) -> None:
    card = {
        "format": "reid_aug.bank-card/1",
        "synthetic": True,
        "images": len(job.draws),
        "identities": len({draw.source.pid for draw in job.draws}),
        "real_images_kept": len(job.real),
        **{**job.attributes, "plan": json.loads(job.attributes["plan"])},
        "generator": str(job.checkpoint) if job.checkpoint else None,
        "device": str(device),
        "host": platform.node(),
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": seconds,
        "versions": {"reid_aug": __version__, "torch": torch.__version__, "numpy": np.__version__},
        "licence": LICENCE_NOTE,
    }
    write_json(path, card)


def describe(job: Job) -> str:
    """What will be drawn, by whom, in one line."""
    identities = by_identity(draw.source for draw in job.draws)
    ratio, mode = job.config.ratio, job.config.mode
    floor = floor_note(job.images, len(job.real), len(job.draws), ratio, mode)
    text = (
        f"{len(job.draws)} images of {len(identities)} identities, from {len(job.real)} real ones; "
        f"{job.artist.words}{floor}"
    )
    if bare := without_pose(job.real, job.poses):
        pids = ", ".join(map(str, bare[:10])) + (", ..." if len(bare) > 10 else "")
        text += f"; {len(bare)} identities have no usable pose as source: {pids}"
    return text


def describe_cost(job: Job, device: torch.device) -> str:
    """Time and disk that drawing takes, the time measured on the second of two batches."""
    artist, batch = job.artist, job.config.batch
    artist.to(device)
    rows = (job.draws * math.ceil(batch / len(job.draws)))[:batch]
    elapsed = 0.0
    for _ in range(2):
        began = time.perf_counter()
        artist.draw(rows)
        elapsed = time.perf_counter() - began
    seconds = math.ceil(len(job.draws) / batch) * elapsed
    size = len(job.draws) * job.data.height * job.data.width * 3 / 1e6
    return f"{len(job.draws)} images, {size:.0f} MB, about {seconds:.0f} s on {device}"
