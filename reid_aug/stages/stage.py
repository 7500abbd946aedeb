"""The inputs of every stage command: a recipe, a data set, a device and a run folder.

The default recipe is ``demo``. The default data set is the built-in people, which are rendered once
into the user's cache. Nothing here writes into the run folder, except :meth:`Stage.write_recipe`.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from reid_aug.data.dataset import KEYPOINTS, Dataset
from reid_aug.data.formats import dataset_root, default_keypoints, read_dataset
from reid_aug.data.keypoints import Pose, check_keypoints, read_keypoints
from reid_aug.data.listing import write_labels
from reid_aug.data.provenance import dataset_sha256
from reid_aug.generator import DEMO, demo_generator
from reid_aug.people import PeopleConfig, cached_people, is_people, people_cache
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.files import write_json
from reid_aug.runtime.progress import track
from reid_aug.runtime.records import build, read_table
from reid_aug.runtime.regular_files import require_regular
from reid_aug.stages.recipe import Recipe, RunFolder, load_recipe, parse_settings


@dataclass(frozen=True)
class Stage:
    """A recipe on a data set in a run folder."""

    recipe: Recipe
    root: Path
    """The folder of the data set."""
    is_demo: bool
    """Whether the data set is the built-in people."""
    keypoints: Path
    """The file of the keypoints."""
    run: RunFolder
    device: torch.device

    @cached_property
    def dataset(self) -> Dataset:
        """The three lists of the data set."""
        return read_dataset(self.root)

    @cached_property
    def poses(self) -> dict[str, Pose]:
        """Poses by file name."""
        poses = read_keypoints(self.keypoints)
        check_keypoints(poses, (image.name for image in self.dataset.train), self.keypoints)
        return poses

    @property
    def poses_if_any(self) -> dict[str, Pose]:
        """Poses by file name, none without a keypoint file, for work that can do without."""
        is_default = self.keypoints.name == KEYPOINTS
        return {} if is_default and not self.keypoints.exists() else self.poses

    def with_options(self, options: Mapping[str, Any]) -> "Stage":
        """The same stage with other values in its recipe (:meth:`Recipe.with_flags`)."""
        made = replace(self, recipe=self.recipe.with_flags(options))
        read = {"dataset", "poses"} & self.__dict__.keys()  # no option of a recipe changes these
        made.__dict__.update({name: self.__dict__[name] for name in read})
        return made

    def write_recipe(self) -> None:
        """Write the recipe into the run folder, and what the pids mean if they were assigned."""
        write_json(self.run.recipe, self.recipe.table())
        if labels := self.dataset.labels:
            write_labels(self.run.identities, labels)

    def generator(self, given: str | None) -> Path:
        """The checkpoint to generate with.

        Args:
            given: a path, or "demo". None means the generator of the run folder; on the built-in
                people, the demo generator if there is none.

        Raises:
            UserError: If there is no such file. The demo generator, which is trained on rendered
                people, is used on other data only if it is named.
        """
        if given == DEMO or (given is None and self.is_demo and not self.run.generator.exists()):
            return demo_generator()
        path = Path(given) if given else self.run.generator
        other = f", or name one with --generator FILE|{DEMO}"
        require_regular(path, remedy=Remedy(("train-generator",), otherwise=other))
        return path


def open_stage(
    recipe: str | None = None,
    data: str | None = None,
    out: str | None = None,
    device: str | None = None,
    keypoints: str | None = None,
    settings: tuple[str, ...] = (),
    options: Mapping[str, Any] | None = None,
) -> Stage:
    """The stage of a command's options.

    Args:
        settings: texts "table.key=value".
        options: values of other options by their key in a recipe. A value of None is ignored.

    Raises:
        UserError: If one of them is wrong.
    """
    loaded = recipe_of(recipe, settings, options)
    return open_stage_of(loaded, data, out, device, keypoints)


def recipe_of(
    name: str | None, settings: tuple[str, ...] = (), options: Mapping[str, Any] | None = None
) -> Recipe:
    """The recipe of a command's options, as :func:`open_stage`. Options precede settings."""
    given = {key: value for key, value in (options or {}).items() if value is not None}
    others = {k: v for k, v in parse_settings(settings).items() if k not in given}
    return load_recipe(name or DEMO).with_flags(given).with_options(others, where="--set")


def open_stage_of(
    recipe: Recipe, data: str | None, out: str | None, device: str | None, keypoints: str | None
) -> Stage:
    """As :func:`open_stage`, with a loaded recipe.

    The default run folder is ``runs/NAME``: NAME is the recipe on the built-in people, else the
    folder of the data set, so that no run on real data shares a folder with the demo.
    """
    folder = RunFolder(Path(out) if out is not None else Path("runs") / _default_name(recipe, data))
    if folder.path.exists() and not folder.path.is_dir():
        raise UserError(f"{folder.path}: --out must be a folder, got a file; choose another")
    chosen = choose_device(device)
    root = demo_people(recipe) if data is None else dataset_root(data)
    points = folder.keypoints if keypoints is None else Path(keypoints)
    if keypoints is None and not points.is_file():
        points = default_keypoints(root if data is None else data)
    return Stage(recipe, root, data is None, points, folder, chosen)


def _default_name(recipe: Recipe, data: str | None) -> str:
    """The name of the run folder without --out: that of the data set, or of the recipe."""
    if data is None:
        return recipe.name
    path = Path(os.path.abspath(data))  # noqa: PTH100 - a link gives its own name
    return path.stem if path.is_file() else path.name


def demo_people(recipe: Recipe) -> Path:
    """The folder of the built-in people of a recipe, rendered on first use."""
    return people_folder(recipe.people)


def people_folder(config: PeopleConfig) -> Path:
    """The folder of these people, rendered on first use."""
    return cached_people(config, lambda items, n: track(items, "draw the people", n))


def dataset_at_hand(data: str | None, run: RunFolder, known: Collection[str]) -> Dataset | None:
    """The data set of results; None if it is not available.

    Args:
        data: its folder; None means the built-in people, if they are rendered already.
        run: the run folder; its recipe has the settings of the people.
        known: the fingerprints of the data sets of the results (:mod:`reid_aug.data.provenance`).

    Raises:
        UserError: If ``data`` is not the data set of any result.
    """
    root = dataset_root(data) if data else people_cache(_people_of(run))
    if not data and not is_people(root):
        return None
    dataset = read_dataset(root)
    if dataset_sha256(dataset) in known:
        return dataset
    if data:
        raise UserError(
            f"--data {data}: must be the data set of the results, with the same images; got another"
        )
    return None


def _people_of(run: RunFolder) -> PeopleConfig:
    """The people of a run folder's recipe, or of the demo if it has none."""
    if not run.recipe.exists():
        return load_recipe(DEMO).people
    recipe = read_table(run.recipe, "a recipe, as commands write it")
    return build(PeopleConfig, recipe.table("people").content, f"{run.recipe}: people")


def choose_device(name: str | None) -> torch.device:
    """The device of that name; None means the GPU, if there is one.

    Without a device number, each process of torchrun takes its own GPU.

    Raises:
        UserError: If this machine has no such device.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    except RuntimeError:
        near = {"gpu": "cuda", **({name: f"cuda:{name}"} if name and name.isdecimal() else {})}
        hint = f"; did you mean {near[name]}?" if name in near else ""
        raise UserError(f"--device must be cpu, cuda or cuda:N, got {name!r}{hint}") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device must be cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"--device {name}: this machine has {torch.cuda.device_count()} such devices"
        )
    return device
