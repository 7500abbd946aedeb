"""The folder of a data set of people: writing it whole, and knowing it again."""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from reid_aug.data.keypoints import Pose, write_keypoints
from reid_aug.people.dataset import GALLERY, QUERY, TRAIN, People, PeopleConfig
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import new_folder

RENDERER = 2  # version of the pictures: raised when any drawn pixel changes
LABEL = "people.json"
WORTH_A_POOL = 32  # people; fewer are drawn sooner than processes start
CHUNK = 8  # people a process draws in a row; neighbours are each other's bystanders

Progress = Callable[[Iterable, int], Iterable]


def write_people(root: Path, config: PeopleConfig, progress: Progress | None = None) -> None:
    """Write a Market-1501 folder of people with their key points (``keypoints.csv``).

    Large sets are drawn by several processes, which are started afresh: a script calls this under
    ``if __name__ == "__main__"``.

    Args:
        root: Missing or an empty folder; it appears whole or not at all.
        config: Which people.
        progress: Wraps an iterable of the given length, to show how far it is.

    Raises:
        UserError: If there is something at ``root``.
    """
    everybody = (*config.pids, *config.distractors)
    with new_folder(root) as folder:
        for name in (TRAIN, QUERY, GALLERY):
            (folder / name).mkdir()
        poses: dict[str, Pose] = {}
        with _mapper(len(everybody)) as apply:
            done = apply(partial(_write_person, folder, config), everybody)
            for some in done if progress is None else progress(done, len(everybody)):
                poses |= some
        write_keypoints(folder / "keypoints.csv", poses)
        label = {"renderer": RENDERER, **asdict(config)}
        (folder / LABEL).write_text(json.dumps(label, indent=1) + "\n", encoding="utf-8")


@contextmanager
def _mapper(people: int) -> Iterator[Callable]:
    """A ``map``: the built-in one, or that of a process pool where that pays."""
    workers = min(os.cpu_count() or 1, 8)
    if people < WORTH_A_POOL or workers == 1:
        yield map
        return
    # Not forked: a fork copies the locks of the threads that torch and BLAS have started.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield partial(pool.map, chunksize=CHUNK)


def _write_person(folder: Path, config: PeopleConfig, pid: int) -> dict[str, Pose]:
    """Write the pictures of one person; their key points by file name."""
    people = People(config)
    poses: dict[str, Pose] = {}
    for split, name, shot in people.files(pid):
        picture = people.draw(shot)
        quality = people.camera(shot).quality
        Image.fromarray(picture.image).save(folder / split / name, quality=quality)
        poses[name] = Pose(np.rint(picture.xy))
    return poses


def cached_people(config: PeopleConfig, progress: Progress | None = None) -> Path:
    """The folder of these people in the user's cache; drawn on first use."""
    root = people_cache(config)
    if not is_people(root):
        try:
            write_people(root, config, progress)
        except UserError:
            if not is_people(root):  # else another process drew the same people meanwhile
                raise
    return root


def people_cache(config: PeopleConfig) -> Path:
    """Where these people lie in the user's cache, once they are drawn."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reid-aug"
    counts = f"{config.identities}-{config.test_identities}-from-{config.first}"
    return cache / f"people-{RENDERER}-{config.difficulty}-{counts}-seed-{config.seed}"


def is_people(root: Path) -> bool:
    """Whether ``root`` is a folder of people that this version of the renderer drew."""
    try:
        read_people(root)
    except UserError:
        return False
    return True


def read_people(root: Path) -> People:
    """The people of a folder that :func:`write_people` made.

    Raises:
        UserError: If it is none, or another version of the renderer drew it.
    """
    path = Path(root) / LABEL
    if not path.is_file():
        raise UserError(f"{path} is missing; only folders of the built-in people have one")
    try:
        label = json.loads(path.read_text(encoding="utf-8"))
        renderer = label.pop("renderer")
        values = {field.name: label[field.name] for field in fields(PeopleConfig)}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} must be what the built-in people wrote; make them anew") from None
    if renderer != RENDERER:
        raise UserError(
            f"{path}: renderer must be {RENDERER}, got {renderer!r}; make the people anew"
        )
    return People(PeopleConfig(**values))
