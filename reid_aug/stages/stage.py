"""What every stage command starts from: a recipe, a data set, a device and a run folder.

Without a recipe the recipe is ``demo``; without a data set it is the built-in people, drawn once
into the user's cache. Nothing here writes into the run folder.
"""

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from reid_aug.data.dataset import Dataset, dataset_root, default_keypoints, read_market1501
from reid_aug.data.keypoints import Pose, read_keypoints
from reid_aug.data.provenance import dataset_sha256
from reid_aug.people import PeopleConfig, cached_people, is_people, people_cache
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.files import write_json
from reid_aug.runtime.progress import track
from reid_aug.stages.recipe import Recipe, RunFolder, load_recipe, parse_settings

DEMO = "demo"


@dataclass(frozen=True)
class Stage:
    """A recipe on a data set in a run folder."""

    recipe: Recipe
    root: Path
    is_demo: bool
    keypoints: Path
    run: RunFolder
    device: torch.device

    @cached_property
    def dataset(self) -> Dataset:
        """The three lists of the data set."""
        return read_market1501(self.root)

    @cached_property
    def poses(self) -> dict[str, Pose]:
        """Key points by file name."""
        return read_keypoints(self.keypoints)

    def with_options(self, options: Mapping[str, Any]) -> "Stage":
        """The same stage with other values in its recipe (:meth:`Recipe.with_options`)."""
        return replace(self, recipe=self.recipe.with_options(options))

    def write_recipe(self) -> None:
        """Write the recipe into the run folder."""
        write_json(self.run.recipe, self.recipe.table())

    def generator(self, given: str | None) -> Path:
        """The generator to draw with: the one named, the run folder's, or the demo's on demo data.

        Raises:
            UserError: If there is none. The one trained on drawn people is not used on real ones
                without being asked for.
        """
        if given == DEMO or (given is None and self.is_demo and not self.run.generator.exists()):
            return demo_generator()
        path = Path(given) if given else self.run.generator
        if not path.is_file():
            raise UserError(
                f"{path} is missing",
                Remedy(
                    ("train-generator",), otherwise=f", or name one with --generator FILE|{DEMO}"
                ),
            )
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
    """Resolve what a stage command was given.

    Args:
        settings: texts "table.key=value".
        options: values of the command's own options by their key in a recipe; None is "not given".

    Raises:
        UserError: If any of it is wrong.
    """
    given = {key: value for key, value in (options or {}).items() if value is not None}
    loaded = load_recipe(recipe or DEMO, {**parse_settings(settings), **given})
    return open_stage_of(loaded, data, out, device, keypoints)


def open_stage_of(
    recipe: Recipe, data: str | None, out: str | None, device: str | None, keypoints: str | None
) -> Stage:
    """As :func:`open_stage`, with the recipe at hand."""
    folder = RunFolder(Path(out) if out else Path("runs") / recipe.name)
    if folder.path.exists() and not folder.path.is_dir():
        raise UserError(f"{folder.path}: --out must be a folder, got a file; choose another")
    chosen = choose_device(device)
    root = dataset_root(data) if data else demo_people(recipe)
    points = Path(keypoints) if keypoints else folder.keypoints
    if not keypoints and not points.is_file():
        points = default_keypoints(data or root)
    return Stage(recipe, root, data is None, points, folder, chosen)


def demo_people(recipe: Recipe) -> Path:
    """The folder of the built-in people of a recipe, drawn on first use."""
    return people_folder(recipe.people)


def people_folder(config: PeopleConfig) -> Path:
    """The folder of these people, drawn on first use."""
    return cached_people(config, lambda items, n: track(items, "draw the people", n))


def dataset_at_hand(data: str | None, run: RunFolder, known: Collection[str]) -> Dataset | None:
    """The data set of results: the one named, or the built-in people if they are drawn already.

    Args:
        data: what was named, if anything was.
        run: the run folder; its recipe says which people.
        known: the fingerprints of the data sets of the results (:mod:`reid_aug.data.provenance`).

    Raises:
        UserError: If the one that was named is not that of any result.
    """
    root = dataset_root(data) if data else people_cache(_people_of(run))
    if not data and not is_people(root):
        return None
    dataset = read_market1501(root)
    if dataset_sha256(dataset) in known:
        return dataset
    if data:
        raise UserError(
            f"--data {data}: must be the data set of the results, with the same images; got another"
        )
    return None


def _people_of(run: RunFolder) -> PeopleConfig:
    """The people that a run folder's recipe names; the demo's where it names none."""
    try:
        return PeopleConfig(**json.loads(run.recipe.read_text(encoding="utf-8"))["people"])
    except (OSError, ValueError, LookupError, TypeError):
        return load_recipe(DEMO).people


def demo_generator() -> Path:
    """The generator that ships with the package."""
    return Path(str(resources.files("reid_aug.assets") / "demo_generator.safetensors"))


def is_first_rank() -> bool:
    """Whether this process is the one of torchrun's that speaks; true where there is one only."""
    return os.environ.get("RANK", "0") == "0"


def choose_device(name: str | None) -> torch.device:
    """The device of that name; without a name the GPU, if there is one.

    Processes of torchrun that were told no number take a GPU each.

    Raises:
        UserError: If there is no such device here.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    except RuntimeError:
        raise UserError(f"--device must be cpu, cuda or cuda:N, got {name!r}") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device must be cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"--device {name}: this machine has {torch.cuda.device_count()} such devices"
        )
    return device
