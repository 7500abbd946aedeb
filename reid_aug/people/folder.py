"""Writing, caching and reading the folder of a data set of people."""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reid_aug.data.keypoints import Pose, write_keypoints
from reid_aug.people.dataset import GALLERY, QUERY, TRAIN, People, PeopleConfig
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import new_folder
from reid_aug.runtime.records import build, read_table
from reid_aug.runtime.workers import end_with_parent, usable_cores

RENDERER = 2  # version of the images; increased when any rendered pixel changes
PEOPLE_RECORD = "people.json"
WORTH_A_POOL = 32  # least number of people for a process pool; fewer render faster without it
PEOPLE_PER_TASK = 8  # of a process; neighbours share bystanders and so cached bodies

Progress = Callable[[Iterable[Any], int], Iterable[Any]]


def write_people(root: Path, config: PeopleConfig, progress: Progress | None = None) -> None:
    """Write people as a Market-1501 folder with their keypoints (``keypoints.csv``).

    Several spawned processes render a large data set, so a script must call this function under
    ``if __name__ == "__main__"``.

    Args:
        root: A missing or an empty folder. It is written completely or not at all. A folder that
            holds these people already is left as it is.
        config: The people of the data set.
        progress: Wraps an iterable of the given length and displays the progress.

    Raises:
        UserError: If ``root`` is a file or a folder that is not empty.
    """
    if is_people(root) and read_people(root).config == config:
        return  # the folder appeared complete
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
        (folder / PEOPLE_RECORD).write_text(json.dumps(label, indent=1) + "\n", encoding="utf-8")


@contextmanager
def _mapper(people: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """The built-in ``map``, or for many people the ``map`` of a process pool."""
    workers = min(usable_cores(), 8)
    if people < WORTH_A_POOL or workers == 1:
        yield map
        return
    # Spawned, not forked: a fork copies the locks of the threads of torch and BLAS.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as pool:
        yield partial(pool.map, chunksize=PEOPLE_PER_TASK)


def _write_person(folder: Path, config: PeopleConfig, pid: int) -> dict[str, Pose]:
    """Write the images of one person; returns their keypoints by file name."""
    people = People(config)
    poses: dict[str, Pose] = {}
    for split, name, shot in people.files(pid):
        picture = people.draw(shot)
        quality = people.camera(shot).quality
        Image.fromarray(picture.image).save(folder / split / name, quality=quality)
        poses[name] = Pose(np.rint(picture.xy))
    return poses


def cached_people(config: PeopleConfig, progress: Progress | None = None) -> Path:
    """The folder of these people in the user's cache; it is rendered on first use.

    Raises:
        UserError: If the cache cannot be written.
    """
    root = people_cache(config)
    if not is_people(root):
        try:
            write_people(root, config, progress)
        except OSError as error:
            raise UserError(
                f"{root}: the built-in people cannot be written, {error.strerror or error}; set "
                f"XDG_CACHE_HOME to a folder that can, or write them with: reid-aug people DIR"
            ) from None
        except UserError:
            if not is_people(
                root
            ):  # otherwise another process has written the same people meanwhile
                raise
    return root


def people_cache(config: PeopleConfig) -> Path:
    """The path of these people in the user's cache; it need not exist.

    Raises:
        UserError: If the user has no home.
    """
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reid-aug"
    except RuntimeError:
        raise UserError(
            "the built-in people need a cache, but HOME is not set; set it or XDG_CACHE_HOME to a "
            "folder that can be written"
        ) from None
    counts = f"{config.identities}-{config.test_identities}-from-{config.first}"
    return cache / f"people-{RENDERER}-{config.difficulty}-{counts}-seed-{config.seed}"


def is_people(root: Path) -> bool:
    """Whether ``root`` is a folder of people of this version of the renderer."""
    try:
        read_people(root)
    except UserError:
        return False
    return True


def dataset_name(root: Path) -> str:
    """The name of the data set in ``root`` for readers: its folder, or "built-in people"."""
    return "built-in people" if is_people(root) else root.name


def read_people(root: Path) -> People:
    """The people of a folder that :func:`write_people` has written.

    Raises:
        UserError: If it is not such a folder, or another version of the renderer wrote it.
    """
    path = Path(root) / PEOPLE_RECORD
    label = read_table(path, "the label of the built-in people", "write the folder again")
    label.whole("renderer", RENDERER, RENDERER)
    names = {field.name for field in fields(PeopleConfig)}
    if missing := sorted(names - label.content.keys()):
        raise label.refused(missing[0], "there")
    values = {name: label.content[name] for name in names}
    return People(build(PeopleConfig, values, str(path)))
